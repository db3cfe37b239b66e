// Package negotiate reads what a client of HTTP says it takes.
package negotiate
