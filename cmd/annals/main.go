// Command annals measures and tortures event stores.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRoot().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "annals:", err)
		os.Exit(1)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "annals",
		Short:         "Measure and torture event stores on MongoDB",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newBench(), newTorture())
	return root
}
