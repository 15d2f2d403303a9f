package pkcs11

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// locate finds the slot with the one token of the address.
func (d *Device) locate(t tokenAddress) (uint, tokenInfo, error) {
	if err := d.checkLibrary(t); err != nil {
		return 0, tokenInfo{}, err
	}
	slots, err := d.library.Slots()
	if err != nil {
		return 0, tokenInfo{}, err
	}
	var match uint
	var matches, others []tokenInfo
	var problems []error
	for _, slot := range slots {
		info, ok, err := d.examine(slot, t)
		switch {
		case err != nil: // of one slot, which may not be ours
			problems = append(problems, err)
		case ok:
			match = slot
			matches = append(matches, info)
		case info.Flags&flagTokenInitialized != 0:
			others = append(others, info)
		}
	}
	switch {
	case len(matches) == 1:
		return match, matches[0], nil
	case len(matches) > 1:
		return 0, tokenInfo{}, fmt.Errorf("%d tokens match the URI: %s; add serial= of the right one", len(matches), tokenList(matches))
	default:
		return 0, tokenInfo{}, noToken(others, problems)
	}
}

var errNoToken = errors.New("no token matches the URI")

// noToken lists the tokens that there are, and the first problem with a slot.
func noToken(others []tokenInfo, problems []error) error {
	has := "no other"
	if len(others) > 0 {
		has = tokenList(others)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w; the device has %s, and a slot that cannot be read: %w", errNoToken, has, problems[0])
	}
	return fmt.Errorf("%w; the device has %s", errNoToken, has)
}

// tokenList names tokens by attributes of a URI.
func tokenList(tokens []tokenInfo) string {
	var names []string
	for _, t := range tokens {
		names = append(names, fmt.Sprintf("token=%q with serial=%q", t.ID.Label, t.ID.Serial))
	}
	return strings.Join(names, ", ")
}

func (d *Device) checkLibrary(t tokenAddress) error {
	info, err := d.library.Info()
	if err != nil {
		return err
	}
	if t.libraryManufacturer.allows(info.Manufacturer) && t.libraryDescription.allows(info.Description) &&
		t.libraryVersion.allows(versionText(info.Major, info.Minor)) {
		return nil
	}
	return fmt.Errorf("library-manufacturer, library-description or library-version in the URI is not that of the library, %q, %q, %s",
		info.Manufacturer, info.Description, versionText(info.Major, info.Minor))
}

// examine reports whether the token in the slot is that of the address.
func (d *Device) examine(slot uint, t tokenAddress) (tokenInfo, bool, error) {
	info, err := d.library.TokenInfo(slot)
	if err != nil {
		return tokenInfo{}, false, err
	}
	fits := info.Flags&flagTokenInitialized != 0 &&
		t.label.allows(info.ID.Label) && t.manufacturer.allows(info.ID.Manufacturer) &&
		t.model.allows(info.ID.Model) && t.serial.allows(info.ID.Serial) &&
		t.slotID.allows(strconv.FormatUint(uint64(slot), 10))
	if !fits || !t.slotManufacturer.set && !t.slotDescription.set {
		return info, fits, nil
	}
	holder, err := d.library.SlotInfo(slot)
	if err != nil {
		return tokenInfo{}, false, err
	}
	return info, t.slotManufacturer.allows(holder.Manufacturer) && t.slotDescription.allows(holder.Description), nil
}

var errNoKey = errors.New("the token has no such private key; list its keys with pkcs11-tool --login --list-objects")

// maxFound is how many of several matching keys an error names.
const maxFound = 16

// findKey looks a private key up.
func (c *connection) findKey(session uint, address keyAddress) (uint, error) {
	template := []attribute{{attributeClass, uint(classPrivateKey)}}
	if address.label.set {
		template = append(template, attribute{attributeLabel, address.label.value})
	}
	if address.id.set {
		template = append(template, attribute{attributeID, []byte(address.id.value)})
	}
	found, err := c.library().Find(session, template, maxFound)
	switch {
	case err != nil:
		return 0, err
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return 0, c.ambiguous(session, found)
	}
	// Private keys are visible only after a login, and other code in this
	// process may have logged out.
	if in, err := c.library().LoggedIn(session); err != nil || !in && c.needsLogin() {
		return 0, errors.Join(err, &callError{Call: "C_FindObjects", Code: codeNotLoggedIn})
	}
	return 0, errNoKey
}

// ambiguous returns an error with the IDs of the keys.
func (c *connection) ambiguous(session uint, found []uint) error {
	var ids []string
	for _, key := range found {
		values, err := c.library().Read(session, key, attributeID)
		if err != nil {
			return err
		}
		ids = append(ids, "id="+percentEncoded(values[0]))
	}
	return fmt.Errorf("%d private keys match the URI; add the id of the right one: %s", len(found), strings.Join(ids, ", "))
}
