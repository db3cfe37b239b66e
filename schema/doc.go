// Package schema checks values against JSON Schema (draft 2020-12, or what
// "$schema" says), for the parameters and the results of commands. Schemas and
// values come from strangers: whatever they are, to compile and to check ends soon.
// Formats are asserted; nothing is ever loaded: a "$ref" leads within the schema.
// Why the library that does it is the one it is: docs/decisions/026.
package schema
