//go:build !unix

package descriptors

// Raise returns 0: there is no such limit.
func Raise() int { return 0 }

func lowest() int { return 0 }
