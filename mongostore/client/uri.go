package client

import (
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// uriOptions are the options of a connection string, by lower-case name. They are
// read without asking a name server, which the driver does for mongodb+srv://.
type uriOptions map[string]string

func optionsOfURI(uri string) uriOptions {
	found := uriOptions{}
	_, query, _ := strings.Cut(uri, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return found // Validate says so
	}
	for name, list := range values {
		found[strings.ToLower(name)] = list[len(list)-1]
	}
	return found
}

// size sets a number that is not set to what the URI says.
func (o uriOptions) size(name string, into *uint64) {
	text, ok := o[name]
	if !ok || *into != 0 {
		return
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return
	}
	if n == 0 && name == "maxpoolsize" {
		n = math.MaxInt32 // the driver's way to say: no limit
	}
	*into = n
}

// milliseconds sets a duration that is not set to what the URI says.
func (o uriOptions) milliseconds(name string, into *time.Duration) {
	if n, err := strconv.ParseInt(o[name], 10, 64); err == nil && *into == 0 && n > 0 {
		*into = time.Duration(n) * time.Millisecond
	}
}

// apply fills fields that are not set from the URI, before they get defaults.
func (o uriOptions) apply(c *Config) {
	if c.AppName == "" {
		c.AppName = o["appname"]
	}
	o.size("maxpoolsize", &c.MaxPool)
	o.size("minpoolsize", &c.MinPool)
	o.milliseconds("maxidletimems", &c.MaxIdleTime)
	o.milliseconds("waitqueuetimeoutms", &c.WaitQueueTimeout)
	o.milliseconds("serverselectiontimeoutms", &c.ServerSelectionTimeout)
	o.milliseconds("connecttimeoutms", &c.ConnectTimeout)
}

// tlsFiles names the options on TLS that a client with TLS.Enabled would not heed.
func (o uriOptions) tlsFiles() (names []string) {
	for _, name := range []string{
		"tlsCAFile", "tlsCertificateKeyFile", "tlsCertificateFile", "tlsPrivateKeyFile", "tlsInsecure", "sslInsecure",
		"tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames",
	} {
		if _, ok := o[strings.ToLower(name)]; ok {
			names = append(names, name)
		}
	}
	return names
}
