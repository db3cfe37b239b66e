// Package seal makes of audit records a chain of hashes that cannot be bent unseen, and looks
// whether one was: it is what the cloud seals with, and what those who do not trust it verify
// with. See docs/decisions/042-the-audit-is-a-chain.md.
package seal
