package secret

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// maxFile bounds a file that holds a secret, in bytes.
const maxFile = 16 << 10

// ReadFile returns the content of a file that holds a secret, without the white
// space around it, which may be empty. The errors repeat nothing of it.
func ReadFile(path string) (Text, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return "", err
	}
	switch {
	case len(content) > maxFile:
		return "", fmt.Errorf("%s is longer than %d bytes", path, maxFile)
	case bytes.HasPrefix(content, []byte("\ufeff")):
		return "", fmt.Errorf("%s begins with a byte order mark, which some editors write; save it as UTF-8 without one", path)
	}
	return Text(bytes.TrimSpace(content)), nil
}
