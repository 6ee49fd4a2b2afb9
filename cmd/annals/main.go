// Command annals measures and tortures event stores.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "annals:", err)
		os.Exit(1)
	}
}

// A command is one of the program's. Its flags may be written with one hyphen or
// two.
type command struct {
	name, short, long string
	// setup declares the flags and returns what to run after they were parsed.
	setup func(*flag.FlagSet) func(ctx context.Context, out io.Writer) error
}

func commands() []command { return []command{benchCommand(), tortureCommand()} }

func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
		usage(out)
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, args[1:], out, errOut)
		}
	}
	usage(errOut)
	return fmt.Errorf("there is no command %q", args[0])
}

func usage(w io.Writer) {
	fmt.Fprint(w, "annals measures and tortures event stores on MongoDB.\n\nusage: annals command [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.short)
	}
	fmt.Fprint(w, "\nannals command -h tells more.\n")
}

func (c command) run(ctx context.Context, args []string, out, errOut io.Writer) error {
	f := flag.NewFlagSet("annals "+c.name, flag.ContinueOnError)
	f.SetOutput(errOut)
	f.Usage = func() {
		fmt.Fprintf(errOut, "%s\n\nflags:\n", c.long)
		f.PrintDefaults()
	}
	fn := c.setup(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%s takes flags alone, not %q", c.name, f.Arg(0))
	}
	return fn(ctx, out)
}

// A list is a flag with values separated by commas.
type list[T any] struct {
	values *[]T
	parse  func(string) (T, error)
}

func (l list[T]) String() string {
	if l.values == nil {
		return ""
	}
	texts := make([]string, len(*l.values))
	for i, v := range *l.values {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, ",")
}

func (l list[T]) Set(text string) error {
	*l.values = nil
	for part := range strings.SplitSeq(text, ",") {
		v, err := l.parse(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		*l.values = append(*l.values, v)
	}
	return nil
}

func numbers(values *[]int) flag.Value { return list[int]{values, strconv.Atoi} }

func names(values *[]string) flag.Value {
	return list[string]{values, func(s string) (string, error) { return s, nil }}
}
