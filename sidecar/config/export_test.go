package config

import "errors"

// Faults returns the faults in err, nil when there are none.
func Faults(err error) []Fault {
	var fe *FaultsError
	if errors.As(err, &fe) {
		return fe.Faults
	}
	return nil
}
