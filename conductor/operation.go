package conductor

// progress of an operation that has not ended.
type progress struct{}
