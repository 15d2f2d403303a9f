package ijson

import "bytes"

// names are the member names of all open objects, the innermost last. The first
// ones are kept in place and as positions rather than slices: a short text such
// as a token must not allocate, and an array without pointers stays on the
// stack.
type names struct {
	n     int
	first [defaultMembers]span
	more  []span
	// unescaped holds the names that are escaped in the text.
	unescaped []byte
}

// A span is the position of a name in the text, or among the unescaped names;
// then it is stored as its complement, a negative number.
type span struct {
	start, end int32
}

func (m *names) len() int { return m.n }

// cut keeps only the first n names.
func (m *names) cut(n int) {
	m.n = n
	m.more = m.more[:max(0, n-len(m.first))]
}

// add adds a name that starts at position start of the text. It reports false
// if one of the names from index first on is the same.
func (m *names) add(text, name []byte, start int, escaped bool, first int) bool {
	if m.contain(text, name, first) {
		return false
	}
	p := span{int32(start), int32(start + len(name))} //nolint:gosec // document bounds the text
	if escaped {
		start = len(m.unescaped)
		m.unescaped = append(m.unescaped, name...)
		p = span{^int32(start), ^int32(start + len(name))} //nolint:gosec // no longer than the text
	}
	if m.n < len(m.first) {
		m.first[m.n] = p
	} else {
		m.more = append(m.more, p)
	}
	m.n++
	return true
}

// contain reports whether one of the names from index first on is name.
func (m *names) contain(text, name []byte, first int) bool {
	for i := first; i < m.n; i++ {
		from, p := text, m.at(i)
		if p.start < 0 {
			from, p = m.unescaped, span{^p.start, ^p.end}
		}
		if bytes.Equal(from[p.start:p.end], name) {
			return true
		}
	}
	return false
}

func (m *names) at(i int) span {
	if i < len(m.first) {
		return m.first[i]
	}
	return m.more[i-len(m.first)]
}
