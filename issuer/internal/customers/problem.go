package customers

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a customer. Its Type and Msg repeat
// nothing of the input.
type Problem struct {
	// Loc is the path to the member inside the customer, for example
	// "billing_address", "country". Its elements are strings, and an int for an
	// index of a list. It is empty if the customer as a whole is wrong.
	Loc []any
	// Type is a short name for programs, in the terms of the API's other
	// validation errors: "missing", "string_type", "value_error".
	Type string
	// Msg says what is expected, for people.
	Msg string
}

// ValidationError is everything that is wrong with a customer.
type ValidationError struct {
	Problems []Problem // never empty
}

// Error names the members and what is expected of them. It does not repeat the
// input, so it is safe in a log.
func (e *ValidationError) Error() string {
	texts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		texts[i] = p.text()
	}
	return strings.Join(texts, "; ")
}

// text returns the path and the message.
func (p Problem) text() string {
	loc := p.Loc
	if len(loc) > 1 && loc[0] == "metadata" {
		loc = loc[:1] // what follows is part of the input
	}
	var b strings.Builder
	for i, part := range loc {
		if i > 0 {
			b.WriteByte('.')
		}
		fmt.Fprint(&b, part)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(p.Msg)
	return b.String()
}
