// Package countersign verifies the requests that Countersign signs. One file, nothing but the standard library: copy it.
//
//	verifier, err := countersign.New(countersign.Options{
//		Scheme: "user-project-stamp", Tokens: []string{os.Getenv("SIGN_TOKEN")}, Project: "demo",
//	})
//	http.ListenAndServe(addr, verifier.Handler(mux)) // countersign.From(request.Context()) is the Identity
//
// What is checked, in this order: each header exactly once; the demonstration signature is refused; the user in lower-case
// ASCII; a stamp of 13 digits within the window; project and app id as expected; the signature, in constant time, under
// each token; and, with a ReplayMemory, that it has not been seen before.
package countersign

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Schemes are all there are.
var Schemes = []string{"user-stamp", "user-project-stamp", "user-project-appid-stamp", "hmac-sha256", "rfc9421"}

// Identity is who calls.
type Identity struct {
	User, Name, Project, AppID string
	// Stamp is in milliseconds since 1970.
	Stamp int64
}

// Claims is what is signed. Username as it travels; Query without "?"; Parameters of rfc9421 alone.
type Claims struct {
	User, Username, Project, AppID, Stamp  string
	Method, Authority, Path, Query, Prefix string
	Parameters                             string
}

// Signature is what the signer computes, as text.
func Signature(scheme, token string, c Claims) string {
	switch scheme {
	case "hmac-sha256":
		var base strings.Builder
		base.WriteString("countersign-hmac-sha256-1\n")
		for _, value := range []string{c.Method, c.Path, c.Query, c.User, c.Username, c.Project, c.AppID, c.Stamp} {
			fmt.Fprintf(&base, "%d:%s\n", len(value), value)
		}
		return hex.EncodeToString(mac(token, base.String()))
	case "rfc9421":
		base := "\"@method\": " + c.Method + "\n\"@authority\": " + c.Authority + "\n\"@path\": " + c.Path +
			"\n\"@query\": ?" + c.Query
		for _, field := range [][2]string{
			{"user", c.User}, {"username", c.Username}, {"stamp", c.Stamp}, {"appid", c.AppID}, {"project", c.Project},
		} {
			base += "\n\"" + c.Prefix + field[0] + "\": " + field[1]
		}
		base += "\n\"@signature-params\": " + c.Parameters
		return base64.StdEncoding.EncodeToString(mac(token, base))
	}
	middle := map[string]string{"user-project-stamp": c.Project, "user-project-appid-stamp": c.Project + c.AppID}[scheme]
	digest := sha256.Sum256([]byte(c.User + middle + c.Stamp + token))
	return hex.EncodeToString(digest[:])
}

// KeyID names a token in keyid of rfc9421, and tells nothing of it.
func KeyID(token string) string {
	digest := sha256.Sum256([]byte("countersign-key:" + token))
	return hex.EncodeToString(digest[:])[:16]
}

func mac(token, text string) []byte {
	hash := hmac.New(sha256.New, []byte(token))
	hash.Write([]byte(text))
	return hash.Sum(nil)
}

// ReplayMemory remembers signatures for as long as they could be accepted again. For one process; for any number of
// goroutines. The zero value remembers 100,000.
type ReplayMemory struct {
	Most int
	lock sync.Mutex
	seen map[string]time.Time
}

// IsNew tells whether sign has not been seen. Full: nothing is new, so that nothing is let through unremembered.
func (m *ReplayMemory) IsNew(sign string, until, now time.Time) bool {
	m.lock.Lock()
	defer m.lock.Unlock()
	most := m.Most
	if most == 0 {
		most = 100_000
	}
	if m.seen == nil {
		m.seen = map[string]time.Time{}
	}
	if len(m.seen) >= most {
		for old, end := range m.seen {
			if end.Before(now) {
				delete(m.seen, old)
			}
		}
	}
	if _, known := m.seen[sign]; known || len(m.seen) >= most {
		return false
	}
	m.seen[sign] = until
	return true
}

// Options are what an upstream expects.
type Options struct {
	// Scheme is one of Schemes.
	Scheme string
	// Tokens is the sign token; two while it is being replaced.
	Tokens []string
	// Project and AppID: empty accepts any.
	Project, AppID string
	// Window is how old or how far ahead a stamp may be; 300 s when it is zero.
	Window time.Duration
	// Prefix of the headers; "x-kms-" when it is empty.
	Prefix string
	// Replay may be nil.
	Replay *ReplayMemory
	// Demo accepts the demonstration signature of local debugging: only on a developer's own machine.
	Demo bool
	// Clock is time.Now when it is nil.
	Clock func() time.Time
}

// Verifier verifies. For any number of goroutines.
type Verifier struct {
	Options
	input *regexp.Regexp
}

// New makes a Verifier; it fails on options that would protect nothing.
func New(options Options) (*Verifier, error) {
	known := false
	for _, scheme := range Schemes {
		known = known || scheme == options.Scheme
	}
	if !known {
		return nil, errors.New("the schemes are " + strings.Join(Schemes, ", "))
	}
	for _, token := range options.Tokens {
		if utf8.RuneCountInString(token) < 31 {
			return nil, errors.New("a sign token has at least 31 characters")
		}
	}
	if len(options.Tokens) == 0 {
		return nil, errors.New("a sign token is needed")
	}
	if options.Window == 0 {
		options.Window = 300 * time.Second
	}
	if options.Prefix == "" {
		options.Prefix = "x-kms-"
	}
	options.Prefix = strings.ToLower(options.Prefix)
	if options.Clock == nil {
		options.Clock = time.Now
	}
	listed := `("@method" "@authority" "@path" "@query"`
	for _, name := range []string{"user", "username", "stamp", "appid", "project"} {
		listed += ` "` + options.Prefix + name + `"`
	}
	// The only form that the signer gives to signature-input.
	input := regexp.MustCompile(`^countersign=(` + regexp.QuoteMeta(listed+")") +
		`;created=([0-9]{1,12});expires=([0-9]{1,12});nonce="[A-Za-z0-9-]{1,64}";keyid="([0-9a-f]{16})"` +
		`;alg="hmac-sha256";tag="countersign")$`)
	return &Verifier{options, input}, nil
}

var (
	plainUser  = regexp.MustCompile(`^[\x21-\x40\x5b-\x7e]*$`)
	plainStamp = regexp.MustCompile(`^[1-9][0-9]{12}$`)
	message    = regexp.MustCompile(`^countersign=:([A-Za-z0-9+/]{43}=):$`)
)

// Verify returns who calls, or why the request is not accepted (for the log, not for the client).
func (v *Verifier) Verify(request *http.Request) (Identity, error) {
	fields, err := v.fields(request.Header)
	if err != nil {
		return Identity{}, err
	}
	name, err := url.PathUnescape(fields["username"])
	if err != nil {
		name = fields["username"]
	}
	identity := Identity{User: fields["user"], Name: name, Project: fields["project"], AppID: fields["appid"]}
	if fields["sign"] == "demo" {
		if v.Demo {
			return identity, nil
		}
		return Identity{}, errors.New("the demonstration signature proves nothing")
	}
	if !plainUser.MatchString(fields["user"]) {
		return Identity{}, errors.New("the user is not in lower-case ASCII")
	}
	if !plainStamp.MatchString(fields["stamp"]) {
		return Identity{}, errors.New("the stamp is not 13 digits")
	}
	identity.Stamp, _ = strconv.ParseInt(fields["stamp"], 10, 64)
	now := v.Clock()
	stamp := time.UnixMilli(identity.Stamp)
	if off := now.Sub(stamp); off > v.Window || off < -v.Window {
		return Identity{}, errors.New("the stamp is outside the window")
	}
	if v.Project != "" && v.Project != identity.Project {
		return Identity{}, errors.New("the request is for another project")
	}
	if v.AppID != "" && v.AppID != identity.AppID {
		return Identity{}, errors.New("the request is for another app id")
	}
	path, query, _ := strings.Cut(target(request), "?")
	claims := Claims{
		User: fields["user"], Username: fields["username"], Project: fields["project"], AppID: fields["appid"],
		Stamp: fields["stamp"], Method: request.Method, Authority: strings.ToLower(request.Host), Path: path, Query: query,
		Prefix: v.Prefix,
	}
	sign := fields["sign"]
	if v.Scheme == "rfc9421" {
		if sign, err = v.message(fields, &claims, now); err != nil {
			return Identity{}, err
		}
	}
	if !v.holds(sign, claims) {
		return Identity{}, errors.New("the signature is wrong")
	}
	if v.Replay != nil && !v.Replay.IsNew(sign, stamp.Add(v.Window), now) {
		return Identity{}, errors.New("the signature has been seen before")
	}
	return identity, nil
}

// target is what stood in the request line.
func target(request *http.Request) string {
	if strings.HasPrefix(request.RequestURI, "/") {
		return request.RequestURI
	}
	return request.URL.RequestURI()
}

// fields are the headers of the signature, each exactly once.
func (v *Verifier) fields(header http.Header) (map[string]string, error) {
	wanted := map[string]string{"sign": v.Prefix + "sign"}
	for _, name := range []string{"user", "username", "stamp", "appid", "project"} {
		wanted[name] = v.Prefix + name
	}
	if v.Scheme == "rfc9421" {
		wanted["input"], wanted["signature"] = "signature-input", "signature"
	}
	demo := v.Demo && header.Get(v.Prefix+"sign") == "demo"
	fields := map[string]string{}
	for key, name := range wanted {
		values := header.Values(name)
		optional := key == "sign" && v.Scheme == "rfc9421" || demo && (key == "input" || key == "signature")
		switch {
		case len(values) > 1:
			return nil, fmt.Errorf("%s comes twice", name)
		case len(values) == 1:
			fields[key] = strings.Trim(values[0], " \t")
		case !optional:
			return nil, fmt.Errorf("there is no %s", name)
		}
	}
	return fields, nil
}

// holds tries every token, whatever the first one says.
func (v *Verifier) holds(sign string, claims Claims) bool {
	found := 0
	for _, token := range v.Tokens {
		found |= subtle.ConstantTimeCompare([]byte(Signature(v.Scheme, token, claims)), []byte(sign))
	}
	return found == 1
}

func (v *Verifier) message(fields map[string]string, claims *Claims, now time.Time) (string, error) {
	input, sign := v.input.FindStringSubmatch(fields["input"]), message.FindStringSubmatch(fields["signature"])
	if input == nil || sign == nil {
		return "", errors.New("signature-input is not the signer's")
	}
	stamp, _ := strconv.ParseInt(claims.Stamp, 10, 64)
	created, _ := strconv.ParseInt(input[2], 10, 64)
	expires, _ := strconv.ParseInt(input[3], 10, 64)
	if created != stamp/1000 || now.After(time.Unix(expires, 0).Add(v.Window)) {
		return "", errors.New("created and stamp differ, or the signature has expired")
	}
	known := 0
	for _, token := range v.Tokens {
		known |= subtle.ConstantTimeCompare([]byte(KeyID(token)), []byte(input[4]))
	}
	if known == 0 {
		return "", errors.New("the key is not known")
	}
	claims.Parameters = input[1]
	return sign[1], nil
}

type key struct{}

// From is the identity of the request that a handler behind Handler serves.
func From(ctx context.Context) (Identity, bool) {
	identity, ok := ctx.Value(key{}).(Identity)
	return identity, ok
}

// Handler answers 401 to what is refused, and hands on what is not.
func (v *Verifier) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		identity, err := v.Verify(request)
		if err != nil {
			http.Error(writer, "the signature is not valid", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(writer, request.WithContext(context.WithValue(request.Context(), key{}, identity)))
	})
}

// LocalCORS is for local debugging: it lets pages of origins call this server from a browser, with the headers of the
// demonstration signature. It does nothing unless enabled; never enable it on a server that others reach.
func LocalCORS(next http.Handler, origins []string, enabled bool) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		origin, listed := request.Header.Get("Origin"), false
		for _, one := range origins {
			listed = listed || one == origin
		}
		if !enabled || !listed {
			next.ServeHTTP(writer, request)
			return
		}
		header := writer.Header()
		header.Set("Access-Control-Allow-Origin", origin)
		header.Add("Vary", "Origin")
		if request.Method != http.MethodOptions || request.Header.Get("Access-Control-Request-Method") == "" {
			next.ServeHTTP(writer, request)
			return
		}
		header.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE")
		header.Set("Access-Control-Allow-Headers",
			"content-type, x-kms-user, x-kms-username, x-kms-stamp, x-kms-appid, x-kms-project, x-kms-sign")
		header.Set("Access-Control-Max-Age", "600")
		header.Set("Access-Control-Allow-Private-Network", "true")
		writer.WriteHeader(http.StatusNoContent)
	})
}
