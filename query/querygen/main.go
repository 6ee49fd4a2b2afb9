// Querygen writes typed fields for package query from the structs of a package,
// so that queries name fields the compiler knows:
//
//	//go:generate go run github.com/annals-es/annals/query/querygen -type Order
//
// For each type it writes a variable such as OrderFields, with a query.Field,
// StringField, ArrayField or a group of them for every stored field. The file names
// the Go fields themselves: renaming one breaks the build until the file is
// written anew, and then every query that uses it.
//
// Names in the database come from the struct tags when the program starts, so
// the file stays right when a tag changes.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintln(os.Stderr, "querygen:", err)
		os.Exit(1)
	}
}

// run is main without the process around it.
func run(args []string, stderr interface{ Write([]byte) (int, error) }) error {
	flags := flag.NewFlagSet("querygen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	types := flags.String("type", "", "the structs to write fields for, separated by commas (required)")
	dir := flags.String("dir", ".", "the directory of the package")
	out := flags.String("out", "query_fields.go", "the file to write, in that directory")
	tags := flags.String("tags", "bson", "the struct tags that name stored fields: bson, or json for a client with UseJSONStructTags")
	check := flags.Bool("check", false, "write nothing, and fail if the file is not up to date")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case *types == "":
		return errors.New("-type is required")
	case *tags != "bson" && *tags != "json":
		return fmt.Errorf("-tags is %q, want bson or json", *tags)
	case filepath.Base(*out) != *out:
		return fmt.Errorf("-out is %q, want a name without a directory", *out)
	}
	content, err := generate(*dir, *out, strings.Split(*types, ","), *tags == "json")
	if err != nil {
		return err
	}
	path := filepath.Join(*dir, *out)
	if !*check {
		return os.WriteFile(path, content, 0o644)
	}
	have, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, content) {
		return fmt.Errorf("%s is not up to date: run go generate", path)
	}
	return nil
}
