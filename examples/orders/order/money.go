package order

import "fmt"

// Money is an amount in cents.
type Money int64

// String returns the amount as "12.50".
func (m Money) String() string {
	sign := ""
	if m < 0 {
		sign, m = "-", -m
	}
	return fmt.Sprintf("%s%d.%02d", sign, m/100, m%100)
}
