// Package lease decides about boards that are lent: when one is free, which of many fit
// best, what a share of a lease may be, and who may do what on a board now. All of it are
// functions of what they are given, without clocks and without I/O: the conductor decides by
// them in its transaction, and a board by the same ones of what it was told, so that both
// decide alike, the board also without the cloud.
package lease
