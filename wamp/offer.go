package wamp

// offers are the procedures and topics that a session has from its begin.
type offers struct {
	names [2][]string // of procedures, of topics
	ids   [2][]uint64 // as the cloud answered
}

var offerDetails = [2]string{DetailProcedures, DetailTopics}

func offersOf(c JoinConfig) *offers {
	o := &offers{}
	for name := range c.Procedures {
		o.names[0] = append(o.names[0], name)
	}
	for name := range c.Topics {
		o.names[1] = append(o.names[1], name)
	}
	return o
}

// say puts them into the details of a HELLO.
func (o *offers) say(hello dict) {
	for i, names := range o.names {
		if len(names) == 0 {
			continue
		}
		l := make(list, len(names))
		for k, name := range names {
			l[k] = name
		}
		hello[offerDetails[i]] = l
	}
}

// heard reads the answer in the details of a WELCOME, and reports whether it is one
// to all of them.
func (o *offers) heard(welcome dict) bool {
	for i, names := range o.names {
		ids, _ := welcome[offerDetails[i]].(list)
		if len(ids) != len(names) {
			return false
		}
		for _, v := range ids {
			id, ok := v.(int64)
			if !ok || id < 1 {
				return false
			}
			o.ids[i] = append(o.ids[i], uint64(id))
		}
	}
	return true
}

// give hands them to a session that does not run yet.
func (o *offers) give(s *Session, c JoinConfig) {
	for k, id := range o.ids[0] {
		s.handlers[id] = c.Procedures[o.names[0][k]]
	}
	for k, id := range o.ids[1] {
		s.topics[id] = c.Topics[o.names[1][k]]
	}
}
