package clock

// Apply makes one change to a text, for the tests.
func Apply(text, from, to string) (string, error) { return apply(text, []change{{from, to}}) }
