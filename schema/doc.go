// Package schema checks values against JSON Schema (draft 2020-12 and those before
// it that its library knows). It fetches nothing, and takes bounded time and memory.
package schema
