package wire

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// messages are all that cross a process boundary.
var messages = []any{
	Error{}, Caller{}, Use{}, TunnelStreams{}, LoginRequest{}, VerifyRequest{}, ListRequest{}, UserPassword{}, News{}, RefRequest{}, ProjectCreate{}, ProjectUpdate{}, UserCreate{}, TokenCreate{},
	BoardCreate{}, BoardList{}, BoardUpdate{}, DoctorReport{}, BoardAuthenticate{}, BoardIdentity{}, BoardJoin{}, BoardJoined{},
	BoardConnected{}, BoardWelcome{}, BoardDisconnected{}, BoardAsk{}, BoardDesired{}, BoardReport{}, BoardTicket{}, BoardTickets{},
	BoardWake{}, BoardKick{}, BoardPing{}, BoardCall{}, BridgeCreate{}, BridgeChange{}, NetworkGRE{}, UplinkSet{}, MetricsAsk{}, Metrics{}, CountersAsk{}, Counters{}, ServiceExpose{}, ServiceList{}, ServiceHide{}, ServiceUpdate{}, ServiceLookup{}, ServicePlace{},
	StreamOpen{}, StreamGrant{}, HostKeysAsk{}, HostKeys{}, OperationGet{}, EventList{}, AuditList{}, CertificateRequest{}, CertificateReply{}, AgentHello{}, AgentWelcome{}, ProcessBeat{},
	AgentBeat{}, AgentLease{}, TunnelAsk{}, TunnelDesired{}, TunnelReport{}, TunnelReported{}, TunnelNetwork{}, TunnelPort{}, TunnelPeer{}, TunnelTicketAsk{}, TunnelTicket{}, TunnelExposure{}, TunnelUplink{}, GREAttachment{}, DesiredPort{}, DesiredService{}, DesiredStreams{}, TunnelEvent{}, AgentWake{}, PortCountersAsk{}, Ticket{}, Book{},
	PinAsk{}, PinAnswer{}, PinRequest{}, PinAll{}, PinBoards{}, PinWatch{}, BoardPins{}, BoardPinsWatch{}, PinSamples{}, PinReport{}, PinRemote{}, PinRemoteAnswer{}, PinNews{},
	HealthReport{}, HealthHeard{}, HealthAsk{}, HealthMetrics{}, OutageList{}, AgentsReach{}, AgentsAt{}, CloudHosts{}, RecordingPart{}, RecordingRead{}, RecordingText{},
	BoardTransfer{}, BoardClaim{}, CalendarCreate{}, CalendarRead{}, CalendarText{},
}

// fill sets every field of v to something that is not its zero value.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)))
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			text := "bytes"
			if v.Type() == reflect.TypeFor[json.RawMessage]() {
				text = "7"
			}
			v.Set(reflect.ValueOf([]byte(text)).Convert(v.Type()))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, val := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(val)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, val)
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(1.5)
	}
}

// TestMessagesLookAsTheyDid holds the form of every message: processes of
// neighbouring versions speak to each other.
func TestMessagesLookAsTheyDid(t *testing.T) {
	for _, m := range messages {
		typ := reflect.TypeOf(m)
		t.Run(typ.Name(), func(t *testing.T) {
			v := reflect.New(typ)
			fill(v.Elem())
			got, err := json.MarshalIndent(v.Interface(), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			file := filepath.Join("testdata", typ.Name()+".golden")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v (make golden writes it)", err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is now\n%s\nwas\n%s", typ.Name(), got, want)
			}
			back := reflect.New(typ)
			if err := json.Unmarshal(want, back.Interface()); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(back.Interface(), v.Interface()) {
				t.Errorf("decoded %+v, want %+v", back.Elem(), v.Elem())
			}
		})
	}
}

func TestErrorsCrossWithWhatAUserMaySee(t *testing.T) {
	err := s4t.Errorf(s4t.Conflict, "create bridge", "choose another", "%w", os.ErrExist)
	got := FromError(err).Err()
	if s4t.KindOf(got) != s4t.Conflict || got.Error() != err.Error() {
		t.Errorf("crossed as %v", got)
	}
	if got := FromError(os.ErrPermission).Err(); s4t.KindOf(got) != s4t.Internal || got.Error() == os.ErrPermission.Error() {
		t.Errorf("an error of ours crossed as %v", got)
	}
	if FromError(nil).Err() != nil {
		t.Error("no error crossed as one")
	}
}
