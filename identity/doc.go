// Package identity decides who may do what: projects, users with passwords
// (argon2id, RFC 9106), roles, tokens with expiry and revocation, and the
// audit of what they did. It is the built-in identity service; everything
// that other rooms see of it is a [wire.Caller].
//
// No password, token or hash of one is in an error, a log line or an audit
// record.
package identity
