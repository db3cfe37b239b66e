package netlab

// AddTAP makes a TAP on the internet side, for a virtual machine that stands
// beside the cloud without NAT, and returns the host in which it is, to run the
// machine in. The TAP stays when the machine ends.
func (l *Lab) AddTAP(name string) (*Host, error) {
	for _, argv := range [][]string{
		{"ip", "tuntap", "add", "dev", name, "mode", "tap"},
		{"ip", "link", "set", name, "master", "br0"},
		{"ip", "link", "set", name, "up"},
	} {
		if err := l.inet.run(argv...); err != nil {
			return nil, err
		}
	}
	return l.inet, nil
}
