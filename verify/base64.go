package verify

import "encoding/binary"

// foreign marks what is not a character of base64url. A group of four
// characters is 24 bits, so the mark is in none of them.
const foreign = 1 << 31

// sextets has, for each of four characters in a row, the bits that it stands
// for where they belong. Nothing changes it.
//
//nolint:gochecknoglobals // a table must not be made for each token
var sextets = func() (table [4][256]uint32) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for place := range table {
		for c := range table[place] {
			table[place][c] = foreign
		}
		for value, c := range []byte(alphabet) {
			table[place][c] = uint32(value) << (18 - 6*place)
		}
	}
	return table
}()

// decodeBase64 reads base64url in its one canonical spelling: no padding, no
// line breaks, and the unused low bits of the last character are zero
// (RFC 4648, Sections 3.5 and 5). It puts the bytes into dst, which must have
// room for them, and returns their number.
//
// encoding/base64 skips line breaks even in strict mode, and asks of each
// character whether it is of the alphabet; to ask once at the end takes less
// than half the time.
func decodeBase64(dst []byte, text string) (n int, ok bool) {
	if len(text)%4 == 1 { // six bits are no byte
		return 0, false
	}
	n = len(text) * 3 / 4
	dst = dst[:n]
	var seen uint32
	// Eight bytes are written at once, of which six are meant.
	for len(text) >= 8 && len(dst) >= 8 {
		a := sextets[0][text[0]] | sextets[1][text[1]] | sextets[2][text[2]] | sextets[3][text[3]]
		b := sextets[0][text[4]] | sextets[1][text[5]] | sextets[2][text[6]] | sextets[3][text[7]]
		binary.BigEndian.PutUint64(dst, uint64(a)<<40|uint64(b)<<16)
		seen |= a | b
		text, dst = text[8:], dst[6:]
	}
	// What is left goes through memory with room for that, filled up with the
	// character of zero. Bits that do not fit into dst must be zero, too.
	for len(text) > 0 {
		group, bytes := [8]byte{'A', 'A', 'A', 'A', 'A', 'A', 'A', 'A'}, [8]byte{}
		text = text[copy(group[:], text):]
		a := sextets[0][group[0]] | sextets[1][group[1]] | sextets[2][group[2]] | sextets[3][group[3]]
		b := sextets[0][group[4]] | sextets[1][group[5]] | sextets[2][group[6]] | sextets[3][group[7]]
		x := uint64(a)<<40 | uint64(b)<<16
		binary.BigEndian.PutUint64(bytes[:], x)
		seen |= a | b
		fit := copy(dst, bytes[:6])
		if dst = dst[fit:]; x<<(8*fit) != 0 {
			seen |= foreign
		}
	}
	return n, seen&foreign == 0
}
