package wire14

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"signalbox/proto/tunnelurl"
)

// token shows that one has the key. It is the same every time.
func token(key string) string {
	return hex.EncodeToString(hmac.New(sha256.New, []byte(key)).Sum(nil))
}

// terms are what a server tells a client that has the key.
type terms struct {
	receives tunnelurl.Role
	tls      tunnelurl.TLS
	// most is how many pool connections may wait.
	most int
}

// text of terms, as it is sent.
func (t terms) text() string {
	return fmt.Sprintf(`{"flow":"%s","max":%d,"tls":"%d","type":"0"}`+"\n", t.flow(), t.most, t.tls)
}

func (t terms) flow() string {
	if t.receives == tunnelurl.Client {
		return "+"
	}
	return "-"
}

// errTerms says that what a server told its client is not understood.
var errTerms = errors.New("the server says what NodePass 1.14 does not")

// readTerms says what a text means. A pool of another kind than TCP connections
// is an error.
func readTerms(text []byte) (terms, error) {
	var said struct {
		Flow, TLS, Type string
		Max             int
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return terms{}, errTerms
	}
	if said.Type != "0" {
		return terms{}, fmt.Errorf("the server has a pool of another kind than TCP connections (%q), which is not spoken here; begin it with type=0", said.Type)
	}
	t := terms{most: said.Max}
	switch said.Flow {
	case "-":
		t.receives = tunnelurl.Server
	case "+":
		t.receives = tunnelurl.Client
	default:
		return terms{}, fmt.Errorf("%w: flow %q", errTerms, said.Flow)
	}
	code, err := strconv.ParseUint(said.TLS, 10, 8)
	if t.tls = tunnelurl.TLS(code); err != nil || t.tls > tunnelurl.Verified {
		return terms{}, fmt.Errorf("%w: tls %q", errTerms, said.TLS)
	}
	if t.most < 1 {
		return terms{}, fmt.Errorf("%w: max %d", errTerms, said.Max)
	}
	return t, nil
}
