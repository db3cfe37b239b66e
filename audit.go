package s4t

import "time"

// AuditHead is where the chain of the audit ends, signed by the cloud: who keeps one can tell later
// whether anything before it was changed.
type AuditHead struct {
	Count     int64     `json:"count"`     // records that the chain has, with those that were trimmed
	Chain     string    `json:"chain"`     // its hash after the last of them: SHA-256, hex
	At        time.Time `json:"at"`        // when that was sealed
	Key       []byte    `json:"key"`       // the cloud's, Ed25519
	Signature []byte    `json:"signature"` // by it
}

// AuditBlock is a piece of the chain: records that were sealed together.
type AuditBlock struct {
	First     int64     `json:"first"` // which records of the chain, from 1
	Last      int64     `json:"last"`
	At        time.Time `json:"at"`                // when they were sealed
	Adopted   bool      `json:"adopted,omitempty"` // they may be older than it: from before there was a chain, or a backup
	Chain     string    `json:"chain"`             // the hash after the last
	Signature []byte    `json:"signature"`         // of the head that it makes

	Links []byte `json:"links,omitempty"` // 32 bytes of each record
	Own   []byte `json:"own,omitempty"`   // 58 bytes of each record that the caller sees: which of the block, 2 bytes, and its entry
	Gap   []byte `json:"gap,omitempty"`   // instead of both: signature that all of it was trimmed
}

// AuditMark says up to which record a part of the audit was trimmed, signed by the cloud.
type AuditMark struct {
	Project   ProjectID `json:"project"`
	Refused   bool      `json:"refused"` // what was refused in the project, or what was done
	At        time.Time `json:"at"`      // of the last record that was trimmed
	ID        int64     `json:"id"`
	Signature []byte    `json:"signature"`
}

// AuditChain is a page of the chain, and what else one needs to verify it.
type AuditChain struct {
	Head   AuditHead    `json:"head"`
	Blocks []AuditBlock `json:"blocks"` // none: that was the end
	Marks  []AuditMark  `json:"marks"`  // of the parts that the caller sees

	LastID int64      `json:"last_id"` // records after it are not sealed yet,
	Holes  [][2]int64 `json:"holes"`   // nor those with ids in these ranges, which transactions hold that are not at their end
}
