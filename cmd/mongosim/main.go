// Command mongosim serves a simulated MongoDB server over TCP, for tests in other
// processes. It is a test double: it knows no users, and forgets everything
// when it ends.
//
// The first line on standard output is the connection string, printed when the
// server is ready. It serves until it is interrupted (SIGINT or SIGTERM).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/annals-es/annals/simstore/mongosim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run serves until ctx ends and returns the exit code: 0, 1 for a failure, 2 for a wrong
// command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("mongosim", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:27900", "`address` to listen on")
	version := flags.String("version", "4.4.6", "`release` to present itself as: 4.4, 5.0, 6.0, 7.0 or 8.0")
	set := flags.String("set", "rs0", "`name` of the replica set")
	oplog := flags.Int("oplog", 0, "`operations` that the oplog keeps (default 1,000,000)")
	lifetime := flags.Duration("txn-lifetime", time.Minute, "how long a transaction may stay open")
	verbose := flags.Bool("v", false, "log on standard error")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "mongosim: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	level := slog.LevelWarn
	if *verbose {
		level = slog.LevelDebug
	}
	s, err := mongosim.New(mongosim.Config{
		Version: *version, SetName: *set, OplogEntries: *oplog, TransactionLifetimeLimit: *lifetime,
		Logger: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	defer s.Close()
	if _, err := s.Listen(*listen); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintln(stderr, "mongosim: a test double, not a database: no authentication, nothing durable")
	fmt.Fprintln(stdout, s.URI())
	<-ctx.Done()
	return 0
}
