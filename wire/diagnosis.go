package wire

// Diagnosis is one thing that may stand between a board and its work, as
// docs/doctor.md lists it. A [Finding] with its ID says what was seen in this
// very case.
type Diagnosis struct {
	ID      string // stable: scripts look for it
	Check   string // of the finding
	Level   string // of the finding
	Certain bool   // what was seen has no other explanation; false: findings of it are always "likely"
	Seen    string // what the doctor sees
	Cure    string // what a person does about it, where the finding has no better
}

// IDs of the diagnoses: of the board itself.
const (
	NotJoined        = "not-joined"
	StateDamaged     = "state-damaged"
	StateUnreadable  = "state-unreadable"
	StateNotWritable = "state-not-writable"
	DesiredDamaged   = "desired-damaged"
	DiskFull         = "disk-full"
	DiskLow          = "disk-low"
	DiskReadOnly     = "disk-read-only"
	NotRunning       = "not-running"
	NotConnected     = "not-connected"
	AgentProblem     = "agent-problem"
	PortDown         = "port-down"
	DeviceNameTaken  = "device-name-taken"
	BridgeToFails    = "bridge-to-fails"
	AddressOverlap   = "address-overlap"
	BridgeNotAllowed = "bridge-not-allowed"
	StateTakenBack   = "state-taken-back"
	DeviceContested  = "device-contested"
	IPv6Unavailable  = "ipv6-unavailable"
	SettingRefused   = "setting-refused"
	ForwardDropped   = "forward-dropped"
	NoTun            = "no-tun"
	NoNetAdmin       = "no-net-admin"
	NoNetworks       = "no-networks"
	ClockPast        = "clock-past"
	ClockOff         = "clock-off"
)

// IDs of the diagnoses: of the way to the cloud, in the order of travel.
const (
	LinkDown              = "link-down"
	NoDefaultRoute        = "no-default-route"
	NoRoute               = "no-route"
	LocalFirewall         = "local-firewall"
	DNSNone               = "dns-none"
	DNSSilent             = "dns-silent"
	DNSNameUnknown        = "dns-name-unknown"
	DNSFailing            = "dns-failing"
	DNSLies               = "dns-lies"
	ProxyUnreachable      = "proxy-unreachable"
	ProxyNotHTTP          = "proxy-not-http"
	ProxyLoginMissing     = "proxy-login-missing"
	ProxyLoginWrong       = "proxy-login-wrong"
	ProxyLoginUnsupported = "proxy-login-unsupported"
	ProxyForbids          = "proxy-forbids"
	ProxyPortal           = "proxy-portal"
	ProxyCannotReach      = "proxy-cannot-reach"
	TCPRefused            = "tcp-refused"
	TCPSilent             = "tcp-silent"
	FamilyDead            = "family-dead"
	AddressDead           = "address-dead"
	CaptivePortal         = "captive-portal"
	NotTLS                = "not-tls"
	TLSCut                = "tls-cut"
	TLSSilent             = "tls-silent"
	TLSFails              = "tls-fails"
	TLSResigned           = "tls-resigned"
	WrongCertificate      = "wrong-certificate"
	CAReplaced            = "ca-replaced"
	CAUnknown             = "ca-unknown"
	HostName              = "host-name"
	CertificateExpired    = "certificate-expired"
	ClockBreaksTLS        = "clock-breaks-tls"
	PathMTU               = "path-mtu"
	WrongServer           = "wrong-server"
	WebPage               = "web-page"
	UpgradeStripped       = "upgrade-stripped"
	UpgradeCut            = "upgrade-cut"
	UpgradeSilent         = "upgrade-silent"
	UpgradeRefused        = "upgrade-refused"
	VersionDiffers        = "version-differs"
	CloudDown             = "cloud-down"
)

// IDs of the diagnoses: of what the cloud says.
const (
	BoardUnknown    = "board-unknown"
	BoardCloned     = "board-cloned"
	BoardRefused    = "board-refused"
	CodeUsed        = "code-used"
	CodeUnknown     = "code-unknown"
	CodeExpired     = "code-expired"
	CodeUnchecked   = "code-unchecked"
	NeverJoined     = "never-joined"
	BoardLeft       = "board-left"
	NeverConnected  = "never-connected"
	BoardOffline    = "board-offline"
	BoardBehind     = "board-behind"
	BoardSilent     = "board-silent"
	ServiceDown     = "service-down"
	TargetForbidden = "target-forbidden"
	TargetRefused   = "target-refused"
	PublicPortTaken = "public-port-taken"
	TunnelAgentAway = "tunnel-agent-away"
	OldVersion      = "old-version"

	PluginFellBack = "plugin-fell-back"
	PluginRefused  = "plugin-refused"
	PluginFailed   = "plugin-failed"
	OwnersHours    = "owners-hours"
)

// Diagnoses lists all of them, in the order in which a connection would fail.
func Diagnoses() []Diagnosis {
	const (
		network  = "check the cable or the Wi-Fi, and that DHCP gave the board an address (`ip addr`, `ip route`)"
		resolver = "check the servers in /etc/resolv.conf, and that UDP and TCP port 53 to them pass"
		harmless = "the connection does not need a right clock, but the board's logs and programs do: set it, or run an NTP client"
		login    = "give user and password in the proxy's URL: http://USER:PASSWORD@HOST:PORT"
	)
	return []Diagnosis{
		{NotJoined, "state", LevelWarning, true, "there is no identity in the state directory", "run `lightning-rod join JOIN-STRING`, or name the directory with --state"},
		{StateDamaged, "state", LevelError, true, "identity.json is not complete JSON, lacks its key, or fails its checksum", "restore it from a backup, or run `lightning-rod leave` and join again with a new code"},
		{StateUnreadable, "state", LevelError, true, "the state directory is there and may not be read", "run as the user who joined (often root), or name another directory with --state"},
		{DesiredDamaged, "state", LevelWarning, true, "the saved desired state fails its checksum", "nothing: it is fetched again as soon as the board is connected; look at the disk if it happens again"},
		{NotRunning, "agent", LevelWarning, true, "nothing answers on the state directory's socket", "start it: `lightning-rod run`, or the service lightning-rod"},
		{NotConnected, "agent", LevelWarning, true, "lightning-rod runs and has no session with the cloud", "wait a moment; what else is found here says why"},
		{AgentProblem, "agent", LevelError, true, "lightning-rod itself tells a problem", "see its log"},
		{PortDown, "port", LevelError, true, "a port of a network is not up; the finding repeats why", "see its problem; ports come up by themselves when the cause has gone"},
		{DeviceNameTaken, "port", LevelError, true, "a device with the name that a port needs is there already", "remove it (`ip link del NAME`), or stop the other lightning-rod that made it"},
		{BridgeToFails, "port", LevelError, true, "the interface that a port is to be bridged to is missing, or in another bridge", "see the reason; `s4t bridge add` with another `--bridge-to`, or without"},
		{AddressOverlap, "port", LevelError, true, "the network of a bridge holds an address or a route that the board uses on another interface, a DNS server of the board, or its cloud", "give the bridge another --cidr; the port stays down until the overlap is gone, and then comes up by itself"},
		{BridgeNotAllowed, "port", LevelError, true, "a port is to be bridged to an interface that the board's owner has not allowed", "the owner can allow it: `lightning-rod run --allow-bridge INTERFACE`"},
		{StateTakenBack, "port", LevelError, true, "within a minute of applying a port the board lost its session with the cloud, and it came back when the port was taken back", "change what is wanted, such as the bridge's --cidr, or remove the board from the bridge and add it again"},
		{DeviceContested, "port", LevelError, true, "another program keeps changing a port's device; it is put back, but less and less often", "tell that program to leave devices that begin with s4t alone (NetworkManager: `unmanaged-devices=interface-name:s4t*`; systemd-networkd: `Unmanaged=yes`)"},
		{IPv6Unavailable, "port", LevelWarning, true, "a port has an IPv6 address, and the board cannot have IPv6; IPv4 works", "see the reason; or leave --cidr6 out"},
		{SettingRefused, "port", LevelWarning, true, "a setting of a port's device is refused by the kernel or a container; the port works without", "see the reason"},
		{ForwardDropped, "port", LevelWarning, false, "a firewall of the board drops what it forwards (Docker sets that), bridged frames too, and no rule of it lets a port's kernel bridge through", "let it through, with a rule that lasts: `iptables -I DOCKER-USER -i s4tb-+ -o s4tb-+ -j ACCEPT`, or the same in FORWARD where there is no Docker"},
		{ClockPast, "clock", LevelWarning, true, "the board's clock is before the day that lightning-rod was made", harmless},
		{ClockOff, "clock", LevelWarning, true, "the board's clock is more than a minute off the cloud's", harmless},
		{DiskFull, "disk", LevelError, true, "the file system of the state directory has no free block or no free inode", "free some space: the board works, but after a restart it waits for the cloud"},
		{DiskLow, "disk", LevelWarning, true, "less than 1 MiB is free there", "free some space"},
		{DiskReadOnly, "disk", LevelWarning, true, "the file system of the state directory is mounted read-only", "mount it for writing, or use --state on another one"},
		{StateNotWritable, "disk", LevelWarning, true, "this user may not write the state directory", "run as the user who joined (often root)"},
		{NoTun, "networks", LevelWarning, true, "/dev/net/tun is not there", "load the kernel module `tun`, or give the container /dev/net/tun; tunnels and commands work without"},
		{NoNetAdmin, "networks", LevelWarning, true, "/dev/net/tun may not be opened, or the kernel refuses to create a device", "run as root, or give the service CAP_NET_ADMIN; tunnels and commands work without"},
		{NoNetworks, "networks", LevelWarning, true, "devices cannot be made for another reason", "see the reason; tunnels and commands work without"},

		{LinkDown, "link", LevelError, true, "no interface but loopback is up and has a carrier", network},
		{NoDefaultRoute, "link", LevelError, true, "there is no default route, and none to the address that is needed", network},
		{NoRoute, "link", LevelError, false, "there is a default route, but the kernel or a router says that the address is unreachable", "check the address, and the default gateway's own connection"},
		{LocalFirewall, "link", LevelError, true, "this machine's own firewall refuses the connection (EPERM)", "let outgoing TCP to that port pass in nftables or iptables"},
		{DNSNone, "dns", LevelError, false, "the name is not known, and /etc/resolv.conf names no server", "set a DNS server there, or let DHCP do it"},
		{DNSSilent, "dns", LevelError, true, "none of the DNS servers answers", resolver},
		{DNSNameUnknown, "dns", LevelError, true, "a DNS server says that the name does not exist (NXDOMAIN), or has no address", "check the name; a name inside a company may need the company's DNS server"},
		{DNSFailing, "dns", LevelError, false, "a DNS server answers, but not with an address", resolver},
		{DNSLies, "dns", LevelError, false, "the connection fails, and the name stands for a loopback, link-local or private address", "compare with another DNS server; a filter, a portal or a wrong /etc/hosts may answer in the cloud's place"},
		{ProxyUnreachable, "proxy", LevelError, false, "no TCP connection to the HTTP proxy comes about", "check the proxy's address in HTTPS_PROXY or --proxy, and that it runs; NO_PROXY goes around it"},
		{ProxyNotHTTP, "proxy", LevelError, false, "what listens at the proxy's address does not answer as an HTTP proxy", "check the proxy's TCP port, and whether its URL begins with http:// or https://"},
		{ProxyLoginMissing, "proxy", LevelError, true, "the proxy wants a login (407) and its URL has none", login},
		{ProxyLoginWrong, "proxy", LevelError, true, "the proxy does not take user and password (407 again)", "check user and password in the proxy's URL; special characters are written as %XX there"},
		{ProxyLoginUnsupported, "proxy", LevelError, true, "the proxy takes only a kind of login that is not spoken here (Negotiate, NTLM)", "ask its operator for Basic or Digest, or for an exception; or run a local proxy that speaks it, such as cntlm"},
		{ProxyForbids, "proxy", LevelError, true, "the proxy answers CONNECT with 403 or 405", "ask its operator to allow CONNECT to the cloud's host and port; port 443 is often the only one allowed"},
		{ProxyPortal, "proxy", LevelError, false, "the proxy answers CONNECT with a redirect or a page", "open a browser on this network and log in"},
		{ProxyCannotReach, "proxy", LevelError, false, "the proxy says that it cannot connect (500, 502, 503 or 504)", "check that the cloud runs, and its name and address as the proxy sees them"},
		{TCPRefused, "tcp", LevelError, false, "the TCP connection is refused", "check that iotronic runs there, and the port"},
		{TCPSilent, "tcp", LevelError, false, "TCP gets no answer", "let outgoing TCP to that port pass, or use an HTTP proxy (--proxy); or the cloud's machine is down"},
		{FamilyDead, "tcp", LevelWarning, true, "of IPv6 and IPv4 one does not connect; the other is used", "mend this network's route for the dead family, or have its addresses taken out of the DNS"},
		{AddressDead, "tcp", LevelWarning, true, "some of the addresses do not connect; the others are used", "have them taken out of the DNS, or mend this board's route to them"},
		{CaptivePortal, "portal", LevelError, false, "requests to the cloud are sent on to another host", "open a browser on this network and log in"},
		{NotTLS, "tls", LevelError, false, "what answers there does not speak TLS", "check the TCP port; a captive portal may answer in its place"},
		{TLSCut, "tls", LevelError, false, "the connection is cut during the TLS handshake", "a firewall may filter TLS by name; or the cloud restarts"},
		{TLSSilent, "tls", LevelError, false, "TCP connects, but the TLS handshake gets no answer with segments of any size", "a firewall may hold TLS back, or the cloud is overloaded"},
		{TLSFails, "tls", LevelError, false, "the TLS handshake fails for another reason", "see the reason"},
		{TLSResigned, "tls", LevelError, false, "the certificate names the cloud's host, but another CA issued it", "a proxy or firewall re-signs TLS: have an exception made for the cloud's host, or, if it may read everything that this board sends, give its CA with `lightning-rod join --ca FILE`"},
		{WrongCertificate, "tls", LevelError, false, "the certificate is for another host and of another CA", "another server answers in the cloud's place: a captive portal, a lying DNS, or a wrong address"},
		{CAReplaced, "tls", LevelError, false, "the certificate is issued by an IoTronic CA, but not by the one that this board trusts", "if the cloud was set up anew, run `lightning-rod leave` and join with a new join string; if not, somebody stands in for it"},
		{CAUnknown, "tls", LevelWarning, false, "a URL was given, and this machine does not know the CA of its certificate", "give the join string instead of the URL: it names the cloud's CA"},
		{HostName, "tls", LevelError, true, "the certificate is of the right CA, and for other names", "use one of the names, or start the cloud with --url https://NAME:PORT"},
		{CertificateExpired, "tls", LevelError, false, "the operator's certificate is out of its time, also by the server's clock", "the operator has to renew it"},
		{ClockBreaksTLS, "tls", LevelError, false, "the certificate is out of its time by this board's clock, not by the server's", "set the board's clock, or run an NTP client: a certificate of a public CA needs it"},
		{PathMTU, "mtu", LevelWarning, false, "the connection comes about with smaller TCP segments only", "let ICMP \"fragmentation needed\" and \"packet too big\" pass, or lower the MTU of the interface; until then the small segments are used"},
		{WrongServer, "upgrade", LevelError, false, "the server answers 404", "check the URL: that is no IoTronic, or a reverse proxy before it does not pass /wamp and /rtunnel on"},
		{WebPage, "upgrade", LevelError, false, "a web page comes instead of a WebSocket", "check the URL; a captive portal or a proxy may answer in its place"},
		{UpgradeStripped, "upgrade", LevelError, false, "the server got a request without the WebSocket upgrade (400 or 426)", "something in between takes the Upgrade header away: have WebSockets allowed, or use https:// so that it cannot look inside"},
		{UpgradeCut, "upgrade", LevelError, false, "the connection is cut when a WebSocket is asked for", "something in between may not let WebSockets pass, or the cloud restarts"},
		{UpgradeSilent, "upgrade", LevelError, false, "the request for a WebSocket gets no answer", "something in between may hold it back, or the cloud is overloaded"},
		{UpgradeRefused, "upgrade", LevelError, false, "the server refuses the WebSocket for another reason", "see the reason"},
		{VersionDiffers, "upgrade", LevelError, true, "the server does not speak this version of the protocol", "bring lightning-rod and iotronic to the same version"},
		{CloudDown, "upgrade", LevelError, false, "the server says that it is not available now (502, 503 or 504)", "wait; if it stays so, the operator has to look at iotronic"},

		{BoardUnknown, "auth", LevelError, true, "the cloud does not know the board or its key (any more)", "run `lightning-rod leave` and join with a new code"},
		{BoardCloned, "auth", LevelError, true, "another board uses the same key", "on the copy: `lightning-rod leave`, then join with a code of its own"},
		{BoardRefused, "auth", LevelError, false, "the cloud does not begin a session for another reason", "see the reason"},
		{CodeUsed, "auth", LevelError, true, "the join string's code was used by another key", "make a new one with `s4t board create`, or `s4t board update BOARD --new-code`"},
		{CodeUnknown, "auth", LevelError, true, "the cloud does not know the join string's code", "make a new one with `s4t board create`"},
		{CodeExpired, "auth", LevelError, true, "the code waited for a board for more than seven days", "make a new one with `s4t board update BOARD --new-code`, then join with the new join string"},
		{CodeUnchecked, "auth", LevelWarning, false, "the cloud could not say whether the code is good", "try again in a moment"},
		{NeverJoined, "session", LevelError, true, "no board has joined with this board's code yet", "run `lightning-rod join` on the board with its join string"},
		{BoardLeft, "session", LevelError, true, "the board has left", "`s4t board update BOARD --new-code`, then join with the new join string"},
		{NeverConnected, "session", LevelError, true, "the board has joined and never connected", "run `lightning-rod doctor` on the board"},
		{BoardOffline, "session", LevelError, true, "the board has no session now", "check its power and its link; `lightning-rod doctor` on the board names the cause"},
		{BoardBehind, "session", LevelWarning, true, "the board has not applied the newest desired state", "wait a moment; if it stays so, see the problems that the board tells"},
		{BoardSilent, "session", LevelWarning, false, "the board is online and did not say what it finds itself", "run `lightning-rod doctor` on the board"},
		{ServiceDown, "service", LevelError, true, "an exposed service has a problem; the finding repeats it", "`s4t service hide`, then expose it with another public port"},
		{TargetForbidden, "service", LevelError, true, "a service is exposed whose target the board's owner does not allow", "the owner can allow it: `lightning-rod run --allow-target`"},
		{TargetRefused, "service", LevelWarning, true, "nothing listens on the board where the streams of an exposed service go", "start the service on the board, or `s4t service hide` and expose the right port"},
		{PublicPortTaken, "service", LevelError, true, "another program on the cloud's host listens on the public port of an exposed service", "the operator can free it; or `s4t service hide`, then expose it with another public port"},
		{TunnelAgentAway, "tunnel agent", LevelError, true, "the tunnel agent that serves the board is away", "the operator has to look at it"},
		{PluginFellBack, "plugin", LevelError, true, "a version of a plugin did not become healthy on the board, which went back to the one before", "see `s4t plugin logs BOARD PLUGIN`, then `s4t plugin upgrade` to a version that works"},
		{PluginRefused, "plugin", LevelError, true, "the board does not take a plugin: its signature, a runtime that is not there, the name of a command, or the word of the board's owner stands against it", "see the reason"},
		{PluginFailed, "plugin", LevelError, true, "a plugin on the board ended, or is not healthy", "see `s4t plugin logs BOARD PLUGIN`"},
		{OwnersHours, "hours", LevelWarning, true, "the board's owner gives it for certain hours only, and it is closed", "wait until it opens (`s4t board profile BOARD`), or ask its owner: `lightning-rod profile`"},
		{OldVersion, "version", LevelWarning, true, "the board's lightning-rod is older than the cloud", "bring lightning-rod to the cloud's version"},
	}
}

// Diagnose returns the diagnosis of an ID.
func Diagnose(id string) (Diagnosis, bool) {
	for _, d := range Diagnoses() {
		if d.ID == id {
			return d, true
		}
	}
	return Diagnosis{}, false
}

// NewFinding makes the finding of a diagnosis. cause says what was seen in this
// case; cure, if not empty, is better than the diagnosis's own.
func NewFinding(id, cause, cure string) Finding {
	d, _ := Diagnose(id)
	if cure == "" {
		cure = d.Cure
	}
	return Finding{ID: id, Check: d.Check, Level: d.Level, Cause: cause, Cure: cure, Certain: d.Certain}
}
