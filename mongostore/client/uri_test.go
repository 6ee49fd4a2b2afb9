package client

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestURIIsHeededWhereNothingElseIsSaid(t *testing.T) {
	t.Parallel()
	const uri = "mongodb://db.example.com/?maxPoolSize=20&minPoolSize=2&maxIdleTimeMS=1000&serverSelectionTimeoutMS=2000&connectTimeoutMS=3000&appName=shop"
	opts := optionsOf(t, Config{URI: uri}, Credential{})
	require.EqualValues(t, 20, *opts.MaxPoolSize)
	require.EqualValues(t, 2, *opts.MinPoolSize)
	require.Equal(t, time.Second, *opts.MaxConnIdleTime)
	require.Equal(t, 2*time.Second, *opts.ServerSelectionTimeout)
	require.Equal(t, 3*time.Second, *opts.ConnectTimeout)
	require.Equal(t, "shop", *opts.AppName)

	opts = optionsOf(t, Config{URI: uri, MaxPool: 30, MinPool: 3, MaxIdleTime: time.Minute, AppName: "other"}, Credential{})
	require.EqualValues(t, 30, *opts.MaxPoolSize)
	require.EqualValues(t, 3, *opts.MinPoolSize)
	require.Equal(t, time.Minute, *opts.MaxConnIdleTime)
	require.Equal(t, "other", *opts.AppName)

	opts = optionsOf(t, Config{URI: "mongodb://db.example.com/"}, Credential{})
	require.EqualValues(t, 100, *opts.MaxPoolSize)
	require.EqualValues(t, 5, *opts.MinPoolSize)
	require.Greater(t, Config{URI: "mongodb://db.example.com/?maxPoolSize=0"}.withDefaults().MaxPool, uint64(1_000_000))
}

func TestTLSOptionsOfTheURIAreNotIgnoredInSilence(t *testing.T) {
	t.Parallel()
	err := Config{URI: "mongodb://db.example.com/?tlsInsecure=true", TLS: TLS{Enabled: true}}.Validate()
	require.ErrorContains(t, err, "tlsInsecure")
	require.NoError(t, Config{URI: "mongodb://db.example.com/?tls=true", TLS: TLS{Enabled: true}}.Validate())
}

func TestForEventsReadsTheURI(t *testing.T) {
	t.Parallel()
	for option, want := range map[string]string{
		"w=0": "w:0", "w=1": "w:1", "readPreference=secondary": "secondary", "readConcernLevel=local": "local",
		"w=majority": "", "readPreference=primary": "", "readConcernLevel=majority": "",
	} {
		err := Config{URI: "mongodb://db.example.com/?" + option}.ForEvents()
		if want == "" {
			require.NoError(t, err, option)
			continue
		}
		require.ErrorContains(t, err, want, option)
	}
	require.NoError(t, Config{URI: "mongodb://db.example.com/?w=1", WriteConcern: WriteConcern{W: "majority"}}.ForEvents(), "the field overrules")
}
