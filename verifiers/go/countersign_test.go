package countersign

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

type vector struct {
	Scheme, User, Project string
	AppID                 string `json:"app_id"`
	Stamp                 json.Number
	Token                 *string
	Username              string
	UsernameEncoded       string `json:"username_encoded"`
	Sign                  string
	Method, Authority     string
	Path, Query           string
	SignatureInput        string `json:"signature_input"`
	Signature             string
}

const token = "0123456789abcdef0123456789abcde"

func vectors(t *testing.T) []vector {
	text, err := os.ReadFile("../../tests/vectors/sign.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(text, &file); err != nil || len(file.Vectors) < 1000 {
		t.Fatal(err, len(file.Vectors))
	}
	return file.Vectors
}

func (v vector) token() string {
	if v.Token == nil {
		return ""
	}
	return *v.Token
}

func (v vector) usable() bool {
	return utf8.RuneCountInString(v.token()) >= 31 && len(v.Stamp) == 13
}

func (v vector) request() *http.Request {
	target := v.Path
	if target == "" {
		target = "/"
	}
	if v.Query != "" {
		target += "?" + v.Query
	}
	method := v.Method
	if method == "" {
		method = "GET"
	}
	request := &http.Request{Method: method, RequestURI: target, Host: v.Authority, Header: http.Header{}}
	for name, value := range map[string]string{
		"User": v.User, "Username": v.UsernameEncoded, "Stamp": string(v.Stamp), "Appid": v.AppID, "Project": v.Project,
	} {
		request.Header.Set("X-Kms-"+name, value)
	}
	if v.Scheme == "rfc9421" {
		request.Header.Set("Signature-Input", v.SignatureInput)
		request.Header.Set("Signature", v.Signature)
	} else {
		request.Header.Set("X-Kms-Sign", v.Sign)
	}
	return request
}

func (v vector) verifier(t *testing.T, change func(*Options)) *Verifier {
	stamp, _ := strconv.ParseInt(string(v.Stamp), 10, 64)
	options := Options{Scheme: v.Scheme, Tokens: []string{v.token()}, Clock: func() time.Time { return time.UnixMilli(stamp) }}
	if change != nil {
		change(&options)
	}
	verifier, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	return verifier
}

func TestEveryVectorHasThisSignature(t *testing.T) {
	for _, v := range vectors(t) {
		made := Signature(v.Scheme, v.token(), Claims{
			User: v.User, Username: v.UsernameEncoded, Project: v.Project, AppID: v.AppID, Stamp: string(v.Stamp),
			Method: v.Method, Authority: v.Authority, Path: v.Path, Query: v.Query, Prefix: "x-kms-",
			Parameters: strings.TrimPrefix(v.SignatureInput, "countersign="),
		})
		expected := v.Sign
		if v.Scheme == "rfc9421" {
			expected = strings.TrimSuffix(strings.TrimPrefix(v.Signature, "countersign=:"), ":")
		}
		if made != expected {
			t.Fatalf("%+v: %s", v, made)
		}
	}
}

func TestEveryUsableVectorIsAcceptedAsARequest(t *testing.T) {
	accepted := 0
	for _, v := range vectors(t) {
		if !v.usable() {
			continue
		}
		verifier := v.verifier(t, func(options *Options) { options.Project, options.AppID = v.Project, v.AppID })
		identity, err := verifier.Verify(v.request())
		if err != nil || identity.User != v.User || identity.Name != v.Username {
			t.Fatalf("%+v: %v %+v", v, err, identity)
		}
		accepted++
	}
	if accepted < 700 {
		t.Fatal(accepted)
	}
}

func TestEachFlippedBitIsRefused(t *testing.T) {
	unsigned := map[string]string{
		"user-stamp": "X-Kms-Username X-Kms-Appid X-Kms-Project", "user-project-stamp": "X-Kms-Username X-Kms-Appid",
		"user-project-appid-stamp": "X-Kms-Username",
	}
	for at, v := range vectors(t) {
		if at%25 != 0 || !v.usable() {
			continue
		}
		verifier, request := v.verifier(t, nil), v.request()
		for name := range request.Header {
			if strings.Contains(" "+unsigned[v.Scheme]+" ", " "+name+" ") {
				continue
			}
			value := request.Header.Get(name)
			for place := 0; place < len(value); place++ {
				for bit := 0; bit < 8; bit++ {
					changed := []byte(value)
					changed[place] ^= 1 << bit
					request.Header.Set(name, string(changed))
					if _, err := verifier.Verify(request); err == nil {
						t.Fatalf("%+v: %s: %q", v, name, changed)
					}
				}
			}
			request.Header.Set(name, value)
		}
		if v.Method == "" {
			continue
		}
		for _, change := range []func(*http.Request){
			func(r *http.Request) { r.Method += "X" },
			func(r *http.Request) { r.RequestURI += "x" },
			func(r *http.Request) { r.RequestURI = "/x" + r.RequestURI },
		} {
			request := v.request()
			change(request)
			if _, err := verifier.Verify(request); err == nil {
				t.Fatalf("%+v: %s %s", v, request.Method, request.RequestURI)
			}
		}
	}
}

func plain() vector {
	secret := token
	v := vector{Scheme: "user-project-stamp", User: "dev@example.com", Project: "demo", AppID: "1001", Stamp: "1763740800000",
		Token: &secret, UsernameEncoded: "Dev"}
	v.Sign = Signature(v.Scheme, token, Claims{User: v.User, Project: v.Project, Stamp: string(v.Stamp)})
	return v
}

func TestWhatIsNotExpectedIsRefused(t *testing.T) {
	v := plain()
	now := time.UnixMilli(1763740800000)
	at := func(off time.Duration) func(*Options) {
		return func(options *Options) { options.Clock = func() time.Time { return now.Add(off) } }
	}
	for _, off := range []time.Duration{-300 * time.Second, 0, 300 * time.Second} {
		if _, err := v.verifier(t, at(off)).Verify(v.request()); err != nil {
			t.Fatal(off, err)
		}
	}
	for what, change := range map[string]func(*Options){
		"late": at(301 * time.Second), "early": at(-301 * time.Second),
		"project": func(o *Options) { o.Project = "other" }, "app id": func(o *Options) { o.AppID = "1002" },
		"token": func(o *Options) { o.Tokens = []string{"another-token-0123456789abcdef0123"} },
	} {
		if _, err := v.verifier(t, change).Verify(v.request()); err == nil {
			t.Fatal(what)
		}
	}
	for name, values := range map[string][]string{
		"X-Kms-Sign": {"demo", "", strings.ToUpper(v.Sign)}, "X-Kms-Stamp": {"", "0", "176374080000", "01763740800000"},
		"X-Kms-User": {"Dev@example.com", "d\u00e9v@example.com"},
	} {
		for _, value := range values {
			request := v.request()
			request.Header.Set(name, value)
			if _, err := v.verifier(t, nil).Verify(request); err == nil {
				t.Fatal(name, value)
			}
		}
	}
	for name := range v.request().Header {
		missing, twice := v.request(), v.request()
		missing.Header.Del(name)
		twice.Header.Add(name, "x")
		for _, request := range []*http.Request{missing, twice} {
			if _, err := v.verifier(t, nil).Verify(request); err == nil {
				t.Fatal(name)
			}
		}
	}
}

func TestTokensReplayAndTheDemonstrationSignature(t *testing.T) {
	v := plain()
	both := func(o *Options) { o.Tokens = []string{"another-token-0123456789abcdef0123", token} }
	if _, err := v.verifier(t, both).Verify(v.request()); err != nil {
		t.Fatal(err)
	}
	for _, tokens := range [][]string{nil, {"short"}} {
		if _, err := New(Options{Scheme: v.Scheme, Tokens: tokens}); err == nil {
			t.Fatal(tokens)
		}
	}
	once := v.verifier(t, func(o *Options) { o.Replay = &ReplayMemory{Most: 2} })
	if _, err := once.Verify(v.request()); err != nil {
		t.Fatal(err)
	}
	if _, err := once.Verify(v.request()); err == nil {
		t.Fatal("seen before")
	}
	now := time.UnixMilli(1763740800000)
	if !once.Replay.IsNew("b", now, now) || once.Replay.IsNew("c", now, now) || !once.Replay.IsNew("c", now, now.Add(time.Hour)) {
		t.Fatal("full, then forgotten")
	}
	demo := v.request()
	demo.Header.Set("X-Kms-Sign", "demo")
	demo.Header.Set("X-Kms-Stamp", "0")
	if _, err := v.verifier(t, func(o *Options) { o.Demo = true }).Verify(demo); err != nil {
		t.Fatal(err)
	}
}

func TestHandlers(t *testing.T) {
	v := plain()
	handler := v.verifier(t, nil).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		identity, _ := From(r.Context())
		w.Write([]byte(identity.User))
	}))
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, v.request())
	refused := httptest.NewRecorder()
	handler.ServeHTTP(refused, httptest.NewRequest("GET", "/", nil))
	if answer.Body.String() != v.User || refused.Code != 401 {
		t.Fatal(answer.Body, refused.Code)
	}
	through := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(418) })
	for _, row := range []struct {
		enabled bool
		origin  string
		status  int
	}{{false, "https://demo.example.com", 418}, {true, "https://evil.example", 418}, {true, "https://demo.example.com", 204}} {
		ask := httptest.NewRequest("OPTIONS", "/", nil)
		ask.Header.Set("Origin", row.origin)
		ask.Header.Set("Access-Control-Request-Method", "GET")
		answer := httptest.NewRecorder()
		LocalCORS(through, []string{"https://demo.example.com"}, row.enabled).ServeHTTP(answer, ask)
		if answer.Code != row.status || (answer.Header().Get("Access-Control-Allow-Origin") != "") != (row.status == 204) {
			t.Fatal(row, answer.Code, answer.Header())
		}
	}
}
