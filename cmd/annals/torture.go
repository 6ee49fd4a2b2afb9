package main

import "github.com/spf13/cobra"

func newTorture() *cobra.Command { return &cobra.Command{Use: "torture"} }
