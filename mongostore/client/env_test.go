package client_test

import (
	"bytes"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/mongostore/client"
)

const uri = "mongodb://127.0.0.1:27017/?replicaSet=rs0"

func lookup(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

func TestFromEnvReadsEachVariable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.pem")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o600))
	yes := true
	for name, c := range map[string]struct {
		vars map[string]string
		want client.Config
	}{
		"nothing but the URI": {nil, client.Config{}},
		"pool":                {map[string]string{"MONGODB_MIN_POOL": "2", "MONGODB_MAX_POOL": "10"}, client.Config{MinPool: 2, MaxPool: 10}},
		"empty is not set":    {map[string]string{"MONGODB_MIN_POOL": " "}, client.Config{}},
		"a duration":          {map[string]string{"MONGODB_MAX_IDLE_TIME": "90s"}, client.Config{MaxIdleTime: 90 * time.Second}},
		"milliseconds":        {map[string]string{"MONGODB_WAIT_QUEUE_TIMEOUT": "250"}, client.Config{WaitQueueTimeout: 250 * time.Millisecond}},
		"selection timeout":   {map[string]string{"MONGODB_SERVER_SELECTION_TIMEOUT": "5000"}, client.Config{ServerSelectionTimeout: 5 * time.Second}},
		"TLS": {
			map[string]string{"MONGODB_TLS_ENABLED": "true", "MONGODB_TLS_CA_FILE": file, "MONGODB_TLS_CERT_FILE": file, "MONGODB_TLS_KEY_FILE": file},
			client.Config{TLS: client.TLS{Enabled: true, CAFile: file, CertFile: file, KeyFile: file}},
		},
		"read preference": {map[string]string{"MONGODB_READ_PREFERENCE": "nearest"}, client.Config{ReadPreference: client.ReadPreference{Mode: "nearest"}}},
		"tag sets": {
			map[string]string{"MONGODB_READ_PREFERENCE": "secondary; region:us-east, dc:dc1 ;region:us-east;"},
			client.Config{ReadPreference: client.ReadPreference{Mode: "secondary", TagSets: []map[string]string{
				{"region": "us-east", "dc": "dc1"}, {"region": "us-east"}, {},
			}}},
		},
		"read concern":  {map[string]string{"MONGODB_READ_CONCERN": "majority"}, client.Config{ReadConcern: "majority"}},
		"write concern": {map[string]string{"MONGODB_WRITE_CONCERN": "majority"}, client.Config{WriteConcern: client.WriteConcern{W: "majority"}}},
		"write concern in full": {
			map[string]string{"MONGODB_WRITE_CONCERN": "2,journal,timeout=5s"},
			client.Config{WriteConcern: client.WriteConcern{W: "2", Journal: &yes, Timeout: 5 * time.Second}},
		},
		"simulation": {map[string]string{"MONGODB_SIMULATION_MODE": "record"}, client.Config{SimulationMode: client.SimulationRecord}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars := map[string]string{"MONGODB_URI": uri}
			maps.Copy(vars, c.vars)
			c.want.URI = uri
			got, err := client.FromEnv(lookup(vars))
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestFromEnvNamesEachMistake(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		vars map[string]string
		want []string
	}{
		"no URI":             {map[string]string{"MONGODB_URI": ""}, []string{"MONGODB_URI is not set"}},
		"no scheme":          {map[string]string{"MONGODB_URI": "localhost"}, []string{"MONGODB_URI does not start with mongodb://"}},
		"broken URI":         {map[string]string{"MONGODB_URI": "mongodb://user:hunter2@host:port/"}, []string{"MONGODB_URI is not a connection string"}},
		"pool of letters":    {map[string]string{"MONGODB_MIN_POOL": "few"}, []string{`MONGODB_MIN_POOL is "few"`, "whole number"}},
		"pool of none":       {map[string]string{"MONGODB_MAX_POOL": "0"}, []string{`MONGODB_MAX_POOL is "0"`}},
		"pool upside down":   {map[string]string{"MONGODB_MIN_POOL": "20", "MONGODB_MAX_POOL": "10"}, []string{"MONGODB_MIN_POOL is 20, above the 10 of MONGODB_MAX_POOL"}},
		"negative time":      {map[string]string{"MONGODB_MAX_IDLE_TIME": "-1s"}, []string{`MONGODB_MAX_IDLE_TIME is "-1s"`, "5s"}},
		"time without unit":  {map[string]string{"MONGODB_WAIT_QUEUE_TIMEOUT": "1.5"}, []string{"MONGODB_WAIT_QUEUE_TIMEOUT"}},
		"endless time":       {map[string]string{"MONGODB_SERVER_SELECTION_TIMEOUT": "99999999999999999"}, []string{"MONGODB_SERVER_SELECTION_TIMEOUT"}},
		"TLS perhaps":        {map[string]string{"MONGODB_TLS_ENABLED": "maybe"}, []string{"MONGODB_TLS_ENABLED", "true or false"}},
		"CA without TLS":     {map[string]string{"MONGODB_TLS_CA_FILE": "/ca.pem"}, []string{"MONGODB_TLS_CA_FILE is set to /ca.pem, but MONGODB_TLS_ENABLED is not"}},
		"CA is not there":    {map[string]string{"MONGODB_TLS_ENABLED": "1", "MONGODB_TLS_CA_FILE": "/no/such.pem"}, []string{"MONGODB_TLS_CA_FILE is /no/such.pem, which cannot be read"}},
		"cert without key":   {map[string]string{"MONGODB_TLS_ENABLED": "1", "MONGODB_TLS_CERT_FILE": "/no/such.pem"}, []string{"MONGODB_TLS_CERT_FILE and MONGODB_TLS_KEY_FILE are needed together"}},
		"unknown mode":       {map[string]string{"MONGODB_READ_PREFERENCE": "closest"}, []string{`MONGODB_READ_PREFERENCE is "closest"`, "nearest"}},
		"tags on primary":    {map[string]string{"MONGODB_READ_PREFERENCE": "primary;dc:1"}, []string{"MONGODB_READ_PREFERENCE", "other than primary"}},
		"tag without value":  {map[string]string{"MONGODB_READ_PREFERENCE": "nearest;dc"}, []string{"MONGODB_READ_PREFERENCE", "name:value"}},
		"unknown concern":    {map[string]string{"MONGODB_READ_CONCERN": "most"}, []string{`MONGODB_READ_CONCERN "most" is none of`}},
		"too many members":   {map[string]string{"MONGODB_WRITE_CONCERN": "51"}, []string{"MONGODB_WRITE_CONCERN", "0 to 50"}},
		"journal of nothing": {map[string]string{"MONGODB_WRITE_CONCERN": "0,journal"}, []string{"MONGODB_WRITE_CONCERN", "contradicts"}},
		"unknown part":       {map[string]string{"MONGODB_WRITE_CONCERN": "majority,fast"}, []string{"MONGODB_WRITE_CONCERN", `"fast" is unknown`}},
		"journal perhaps":    {map[string]string{"MONGODB_WRITE_CONCERN": "majority,journal=maybe"}, []string{"MONGODB_WRITE_CONCERN", "true or false"}},
		"timeout of letters": {map[string]string{"MONGODB_WRITE_CONCERN": "majority,timeout=soon"}, []string{"MONGODB_WRITE_CONCERN", `timeout is "soon": it takes`}},
		"w by its name":      {map[string]string{"MONGODB_WRITE_CONCERN": "w=2"}, []string{"MONGODB_WRITE_CONCERN", `"w=2"`, "0 to 50", "a rule"}},
		"semicolon":          {map[string]string{"MONGODB_WRITE_CONCERN": "majority;journal"}, []string{"MONGODB_WRITE_CONCERN", "after commas"}},
		"journal alone":      {map[string]string{"MONGODB_WRITE_CONCERN": "journal"}, []string{"MONGODB_WRITE_CONCERN", "a rule"}},
		"capital majority":   {map[string]string{"MONGODB_WRITE_CONCERN": "Majority"}, []string{"MONGODB_WRITE_CONCERN", "it takes majority"}},
		"unknown simulation": {map[string]string{"MONGODB_SIMULATION_MODE": "dream"}, []string{`MONGODB_SIMULATION_MODE is "dream"`, "replay"}},
		"several at once":    {map[string]string{"MONGODB_URI": "", "MONGODB_MIN_POOL": "x", "MONGODB_READ_CONCERN": "y"}, []string{"MONGODB_URI", "MONGODB_MIN_POOL", "MONGODB_READ_CONCERN"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars := map[string]string{"MONGODB_URI": uri}
			maps.Copy(vars, c.vars)
			_, err := client.FromEnv(lookup(vars))
			require.Error(t, err)
			require.ErrorAs(t, err, new(*client.ConfigError))
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestConfigPrintsNoSecrets(t *testing.T) {
	t.Parallel()
	for _, c := range []client.Config{
		{URI: "mongodb://anna:hunter2@db.example.com:27017,db2.example.com/shop?replicaSet=rs0&authMechanismProperties=TOKEN:hunter2&tlsCertificateKeyFilePassword=hunter2"},
		{URI: "mongodb+srv://anna:hun%40ter2@db.example.com/?proxyPassword=hunter2", Credentials: client.Static(client.Credential{Username: "anna", Password: "hunter2"})},
		{URI: "hunter2"},
		{URI: "mongodb://anna:hunter2@[broken"},
		{URI: "mongodb://anna:hunter?hunter2@db.example.com/"},
		{URI: "mongodb://anna:hunter2/hunter2?@db.example.com/?w=majority"},
	} {
		for _, text := range []string{c.String(), c.GoString()} {
			require.NotContains(t, text, "hunter2")
			require.NotContains(t, text, "ter2")
			require.NotContains(t, text, "anna")
		}
	}
	text := client.Config{URI: "mongodb://anna:hunter2@db.example.com/?replicaSet=rs0", MaxPool: 7}.String()
	require.Contains(t, text, "db.example.com")
	require.Contains(t, text, "replicaSet=rs0")
	require.Contains(t, text, "pool=5-7")
	credential := client.Credential{Username: "anna", Password: "hunter2"}
	require.Equal(t, "anna:[redacted]", credential.String())
	require.Equal(t, "client.Credential{anna:[redacted]}", credential.GoString())
	require.Equal(t, "anna:[redacted]", credential.LogValue().String())
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("configured", "config", client.Config{URI: "mongodb://anna:hunter2@db.example.com/"}, "credential", credential)
	require.Contains(t, log.String(), "db.example.com")
	require.NotContains(t, log.String(), "hunter2")
}

// TestMistakesInURIsTellNoSecrets has the driver find fault with every part of a
// URI.
func TestMistakesInURIsTellNoSecrets(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{
		"mongodb://anna:%zzunter@h/",
		"mongodb://anna:hunter:2@h/",
		"mongodb://anna:hunter@unter@h/",
		"mongodb://anna:hunter/2@h/",
		"mongodb://anna:hunter?2@h/",
		"mongodb://an%zza:hunter@h/",
		"mongodb://anna:hunter@h:port/",
		"mongodb://anna:hunter@h/?maxPoolSize=many",
		"mongodb://anna:hunter@h/?authMechanismProperties=hunter",
		"mongodb://anna:hunter@h/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN",
		"mongodb://anna:hunter@h/?proxyHost=x&proxyPassword=hunter",
		"mongodb://anna:hunter@h?w=1",
		"mongodb://anna:hunter@h/?compressors=%zz",
	} {
		err := client.Config{URI: uri}.Validate()
		for _, secret := range []string{"hunter", "unter", "zz", "anna", "an%"} {
			if err != nil {
				require.NotContains(t, err.Error(), secret, uri)
			}
			require.NotContains(t, client.Config{URI: uri}.String(), secret, uri)
		}
	}
}

// TestCredentialsFromEnv gives the user and the password each by a variable or a
// file.
func TestCredentialsFromEnv(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	user, password := write(t, dir, "user", []byte("anna\n")), write(t, dir, "password", []byte("hunter2\n"))
	for name, c := range map[string]struct {
		vars    map[string]string
		renewed bool
	}{
		"variables":         {map[string]string{"MONGODB_USERNAME": "anna", "MONGODB_PASSWORD": "hunter2"}, false},
		"files":             {map[string]string{"MONGODB_USERNAME_FILE": user, "MONGODB_PASSWORD_FILE": password}, true},
		"variable and file": {map[string]string{"MONGODB_USERNAME": "anna", "MONGODB_PASSWORD_FILE": password}, true},
	} {
		c.vars["MONGODB_URI"] = uri
		cfg, err := client.FromEnv(lookup(c.vars))
		require.NoError(t, err, name)
		got, err := cfg.Credentials.Credential(t.Context())
		require.NoError(t, err, name)
		require.Equal(t, c.renewed, !got.Expires.IsZero(), name)
		got.Expires = time.Time{}
		require.Equal(t, client.Credential{Username: "anna", Password: "hunter2"}, got, name)
	}
	for want, vars := range map[string]map[string]string{
		"MONGODB_PASSWORD is needed":                               {"MONGODB_USERNAME": "anna"},
		"MONGODB_USERNAME is needed":                               {"MONGODB_PASSWORD_FILE": password},
		"MONGODB_PASSWORD and MONGODB_PASSWORD_FILE are both set":  {"MONGODB_USERNAME": "anna", "MONGODB_PASSWORD": "hunter2", "MONGODB_PASSWORD_FILE": password},
		"MONGODB_PASSWORD_FILE is /no/such, which cannot be read:": {"MONGODB_USERNAME": "anna", "MONGODB_PASSWORD_FILE": "/no/such"},
	} {
		vars["MONGODB_URI"] = uri
		_, err := client.FromEnv(lookup(vars))
		require.ErrorContains(t, err, want)
		require.ErrorAs(t, err, new(*client.ConfigError))
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestForEventsRefusesWhatBreaksGuarantees(t *testing.T) {
	t.Parallel()
	require.NoError(t, client.Config{}.ForEvents())
	require.NoError(t, client.Config{
		WriteConcern: client.WriteConcern{W: "majority"}, ReadConcern: "majority", ReadPreference: client.ReadPreference{Mode: "primary"},
	}.ForEvents())
	for _, c := range []client.Config{
		{WriteConcern: client.WriteConcern{W: "0"}},
		{WriteConcern: client.WriteConcern{W: "1"}},
		{ReadPreference: client.ReadPreference{Mode: "secondaryPreferred"}},
		{ReadConcern: "local"},
	} {
		require.Error(t, c.ForEvents())
		c.URI = uri
		require.NoError(t, c.Validate(), "read models may")
	}
}

func TestValidateNamesFields(t *testing.T) {
	t.Parallel()
	err := client.Config{
		URI: uri, MaxIdleTime: -1, MinPool: 200, SimulationMode: client.SimulationReplay,
		TLS:            client.TLS{Enabled: true, MinVersion: 7},
		ReadPreference: client.ReadPreference{Mode: "nearest", MaxStaleness: time.Second},
	}.Validate()
	for _, want := range []string{"MaxIdleTime", "MinPool is 200, above the 100 of MaxPool", "SimulationMode", "TLS.MinVersion", "staleness of 1s"} {
		require.ErrorContains(t, err, want)
	}
}
