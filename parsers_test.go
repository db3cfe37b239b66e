package s4t_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// parsers lists what reads bytes that somebody else wrote, and the fuzz target
// that feeds it; the target's corpus is in testdata/fuzz beside it.
var parsers = []struct{ reads, target string }{
	{"the body of a REST request", "api FuzzBody"},
	{"the id in Last-Event-ID and the queue's events", "api FuzzDecode"},
	{"a request as it reaches the conductor, and what boards and agents say", "conductor FuzzMessage"},
	{"services, targets and ranges of ports, as a user types them", "conductor FuzzParse"},
	{"the routes and DNS servers that a board tells", "conductor FuzzReached"},
	{"a DNS query", "nameserver FuzzQuery"},
	{"the events that the API streams", "apiclient FuzzEvents"},
	{"a kept password's hash", "identity FuzzParse"},
	{"a WAMP message on the board", "wamp FuzzDecode"},
	{"a WAMP message in the router", "wamp/router FuzzDecode"},
	{"a WebSocket frame's header", "rtunnel FuzzParseHeader"},
	{"a WebSocket message, also in pieces", "rtunnel FuzzReadMessage"},
	{"a control message of a stream", "rtunnel/stream FuzzControl"},
	{"a message between the ends of a stream that is resumed", "rtunnel/resume FuzzMessage"},
	{"a frame of a board's terminal", "terminal FuzzDecoder"},
	{"the head of a server's or proxy's answer", "rtunnel/dial FuzzReadHead"},
	{"what a proxy asks for (Basic, Digest)", "rtunnel/dial FuzzChallenges"},
	{"an offload header and the packet that it describes", "link FuzzValidate"},
	{"the same, with the kernel as judge", "link FuzzValidateAgainstTheKernel"},
	{"a frame from a kernel that has no offload headers", "link FuzzDescribe"},
	{"a stream of TLS records", "rtunnel FuzzRecord"},
	{"datagrams, packet by packet", "link FuzzMerge"},
	{"a GRE header", "gre FuzzParse"},
	{"a GRE packet in IP", "gre FuzzUnwrap"},
	{"an Ethernet frame in GRE", "gre FuzzFrame"},
	{"Ethernet, IP, ARP, ND, DHCP, IGMP and MLD in a switch", "vswitch FuzzInput"},
	{"a join string", ". FuzzParseJoin"},
	{"a range of ports", ". FuzzPortRange"},
	{"the waves of a rollout", ". FuzzParseWaves"},
	{"the words that find boards", ". FuzzBoardQuery"},
	{"text from outside that is shown", ". FuzzLine"},
	{"an area of boards, as GeoJSON", "geo FuzzParseArea"},
	{"what the owner of a board gives", ". FuzzProfile"},
	{"a head of the audit that somebody kept", "seal FuzzParseHead"},
	{"a page of the audit's chain, and a record", "seal FuzzPage"},
	{"a ticket", "wire FuzzVerifyTicket"},
	{"the book of who holds a board", "wire FuzzVerifyBook"},
	{"the parameters and the result of a command", "wire FuzzIJSON"},
	{"the JSON Schema of a command, and what is checked against it", "schema FuzzSchema"},
	{"X-Forwarded-For of a reverse proxy", "cloud FuzzForwarded"},
	{"what encodings a client takes", "negotiate FuzzGzip"},
	{"the URL of a tunnel agent, for the policy of pages", "cloud FuzzWSSOrigin"},
	{"the configuration of iotronic", "cmd/iotronic FuzzParseConfig"},
	{"a file of contexts", "cmd/s4t FuzzReadContexts"},
	{"the identity of a board", "lightningrod FuzzIdentity"},
	{"whose the state of a board is", "lightningrod FuzzOwner"},
	{"the saved desired state of a board", "lightningrod FuzzDesired"},
	{"what a board keeps of the cloud's announced certificate", "lightningrod FuzzTrust"},
	{"what a board keeps of who holds it", "lightningrod FuzzBookFile"},
	{"what a broken join left", "lightningrod FuzzPending"},
	{"the kernel's tables of what listens", "lightningrod FuzzListeners"},
	{"the configuration of lightning-rod", "cmd/lightning-rod FuzzReadConfig"},
	{"the DNS servers of a board", "lightningrod FuzzResolvers"},
	{"what a board keeps of what projects used of it", "lightningrod FuzzUsage"},
	{"what the cloud asks of pins", "lightningrod FuzzPinAsk"},
	{"what the cloud asks of code on a board", "lightningrod FuzzCodeAsk"},
	{"the journal of a board's commands", "plugin/journal FuzzJournal"},
	{"a command of a board's owner", "plugin/ownercommand FuzzParse"},
	{"what mounts of other boards' pins and lightning-rod say to each other", "lightningrod FuzzMountFrames"},
	{"the names of the pins of other boards", "pinfs FuzzTree"},
	{"a request of the kernel on /dev/fuse", "fuse FuzzRequest"},
	{"the kernel's table of mounts", "fuse FuzzMounts"},
	{"the owner's configuration of a board's pins", "hal FuzzConfig"},
	{"what a board keeps of its pins", "hal FuzzJournal"},
	{"a recording that sim plays", "hal FuzzRecording"},
	{"what the kernel tells of devices", "hal FuzzUevent"},
	{"the names of the pins of other boards", "pinfs FuzzTree"},
	{"a request of the kernel on /dev/fuse", "fuse FuzzRequest"},
	{"the kernel's table of mounts", "fuse FuzzMounts"},
	{"what devices answer in sysfs", "hal FuzzDeviceText"},
	{"edges of GPIO lines", "hal FuzzEdges"},
	{"the manifest of a bundle", "plugin/bundle FuzzParseManifest"},
	{"a packed bundle", "plugin/bundle FuzzUnpack"},
	{"what a callable plugin answers", "plugin FuzzAnswer"},
	{"what a plugin writes to its log, and the files of that", "plugin FuzzLog"},
	{"what a board keeps of a plugin", "plugin FuzzKept"},
}

var fuzzTarget = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

func TestEveryParserHasAFuzzTargetWithACorpus(t *testing.T) {
	var there []string
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range fuzzTarget.FindAllSubmatch(text, -1) {
			there = append(there, filepath.ToSlash(filepath.Dir(path))+" "+string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parsers {
		dir, name, _ := strings.Cut(p.target, " ")
		if !slices.Contains(there, p.target) {
			t.Errorf("%s: there is no %s", p.reads, p.target)
		}
		if seeds, _ := filepath.Glob(filepath.Join(dir, "testdata", "fuzz", name, "*")); len(seeds) == 0 {
			t.Errorf("%s: %s has no corpus: `make fuzz FUZZTIME=10s corpus`", p.reads, p.target)
		}
	}
	for _, target := range there {
		if !slices.ContainsFunc(parsers, func(p struct{ reads, target string }) bool { return p.target == target }) {
			t.Errorf("%s is not listed in parsers_test.go: say what it reads", target)
		}
	}
}
