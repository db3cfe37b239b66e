package conductor

import (
	"encoding/json"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// FuzzMessage sends arbitrary bodies to the methods that users and boards
// reach. Each is done or refused with a reason: it never is an internal error,
// and never does what another project's caller may not.
func FuzzMessage(f *testing.F) {
	methods := []string{
		wire.MethodBoardCreate, wire.MethodBoardUpdate, wire.MethodBoardGet, wire.MethodBoardList, wire.MethodBridgeCreate, wire.MethodBridgeAdd,
		wire.MethodBridgeRemove, wire.MethodServiceExpose, wire.MethodServiceHide, wire.MethodStreamOpen, wire.MethodAuditList, wire.MethodEventList,
		wire.MethodBoardJoin, wire.MethodBoardAuthenticate, wire.MethodBoardConnected, wire.MethodBoardReport, wire.MethodBoardDesired, wire.MethodBoardTicket,
		wire.MethodTunnelReport, wire.MethodTunnelEvent, wire.MethodAgentBeat,
		wire.MethodPinAsk, wire.MethodPinAll, wire.MethodPinWatch, wire.MethodBoardPins, wire.MethodBoardRemote,
		wire.MethodBoardCode, wire.MethodBoardProfile,
		wire.MethodCommandRun, wire.MethodCommandFleet, wire.MethodCommandList, wire.MethodCommandGet, wire.MethodCommandCancel, wire.MethodBoardRuns, wire.MethodBoardAsk, wire.MethodFeedFollow,
		wire.MethodBoardHealth, wire.MethodHealthGet, wire.MethodHealthAll, wire.MethodOutageList,
		wire.MethodServiceUpdate, wire.MethodServiceLookup, wire.MethodProcessBeat,
		wire.MethodBookingList,
	}
	l := newLab(f)
	l.pins()
	l.code()
	k := l.commanded("kitchen")
	for i := range methods {
		f.Add(uint8(i), `{}`)
	}
	for _, s := range []struct {
		m    uint8
		body string
	}{
		{0, `{"name":"x","labels":{"a":"b"},"type":"t","location":{"latitude":91}}`},
		{1, `{"ref":"kitchen","name":"kitchen","labels":{"":""}}`},
		{4, `{"name":"n","boards":["kitchen"],"cidr":"10.0.0.0/31","cidr6":"none","layer":3,"mtu":1280}`},
		{4, `{"name":"n","boards":["kitchen","kitchen"],"cidr":"0.0.0.0/0"}`},
		{7, `{"board":"kitchen","service":"22","public_port":50000,"target":"::1"}`},
		{9, `{"board":"kitchen","port":22}`},
		{10, `{"since":-1}`},
		{12, `{"code":"x","public_key":"AAAA"}`},
		{15, `{"board":"` + string(k.id) + `","epoch":1,"generation":9,"ports":[{"id":"x","up":true}],"problems":["a","a"],"recovered":"x"}`},
		{17, `{"board":"` + string(k.id) + `","epoch":1,"purpose":"port","count":1,"port":"x"}`},
		{18, `{"agent":"tunnel-agent-1","incarnation":"t1","seq":18446744073709551615,"problems":{"x":"y"}}`},
		{21, `{"board":"kitchen","ask":{"do":"write","values":{"a/b/c":1e308},"for":1,"priority":100}}`},
		{21, `{"board":"kitchen","ask":{"do":"history","pins":["x"],"after":{"":18446744073709551615},"since":"0001-01-01T00:00:00Z"}}`},
		{22, `{"boards":["kitchen"],"known":-1,"page":{"after":"WyJhIiwiYiJd"}}`},
		{23, `{"board":"kitchen","pins":["x"],"sink":{"topic":"api-pins.1"},"end":true}`},
		{24, `{"board":"` + string(k.id) + `","epoch":1,"pins":[{"name":"a/b/c","label":"..","settings":{"scale":"\u0000"},"unit":"\u0000"}],"ended":[{"pin":"a/b/c","operation":"x","outcome":"reaped"}]}`},
		{26, `{"board":"` + string(k.id) + `","epoch":1,"runtimes":{"exec":"\u0000"},"commands":[{"name":"a","source":"owner","params":[]},{"name":"a","source":"owner"}],"profile":{"open":true,"closing_at":"2026-01-01T00:00:00Z","usage":[{"cpu_seconds":1e308}]}}`},
		{28, `{"board":"kitchen","command":"any","params":{"a":1e999,"b":"\u0000"},"key":"k","queue":1}`},
		{29, `{"boards":["kitchen","none","kitchen"],"command":"move","params":{"to":3},"async":true}`},
		{30, `{"page":{"limit":1,"after":"WyJhIiwiYiJd"}}`},
		{32, `{"ref":"\u0000"}`},
		{33, `{"board":"` + string(k.id) + `","epoch":1,"full":true,"runs":[{"id":"\u0000","status":"strange","result":{"a":"\u0000"}}]}`},
		{35, `{"board":"kitchen","plugin":"a/b","feed":{"topic":"api-feeds.\u0000","id":"x"}}`},
		{40, `{"board":"kitchen","service":"22","dns_name":"A.\u0000"}`},
		{41, `{"name":"\u0000"}`},
		{42, `{"name":"a\u0000","roles":["api","conductor","api"],"incarnation":"\u0000x","host":"\u0000","load":-1}`},
		{25, `{"board":"` + string(k.id) + `","epoch":1,"ask":{"board":"kitchen","ask":{"do":"set","pins":["x"],"settings":{"label":""}}}}`},
	} {
		f.Add(s.m, s.body)
	}
	caller, err := json.Marshal(l.member)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, m uint8, body string) {
		var fields map[string]json.RawMessage
		if json.Unmarshal([]byte(body), &fields) != nil || fields == nil {
			return // the queue's own decoder refuses it
		}
		fields["caller"] = caller
		delete(fields, "wait")
		req, err := json.Marshal(fields)
		if err != nil {
			return
		}
		method := methods[int(m)%len(methods)]
		if _, err := try[json.RawMessage](l, method, json.RawMessage(req)); s4t.KindOf(err) == s4t.Internal {
			t.Errorf("%s %s: %v", method, req, err)
		}
	})
}
