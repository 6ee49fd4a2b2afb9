package eventstore

import "reflect"

// zeroTest returns what says whether a value of a type is zero, as encoding/json
// has it: its method IsZero, if it has one, or else that it is the zero value.
func zeroTest(t reflect.Type) func(reflect.Value) bool {
	switch {
	case t.Implements(isZeroerType):
		return func(v reflect.Value) bool {
			if v.Kind() == reflect.Pointer && v.IsNil() {
				return true // the method may not expect it
			}
			return v.Interface().(isZeroer).IsZero()
		}
	case reflect.PointerTo(t).Implements(isZeroerType):
		return func(v reflect.Value) bool {
			copied := reflect.New(t)
			copied.Elem().Set(v)
			return copied.Interface().(isZeroer).IsZero()
		}
	}
	return reflect.Value.IsZero
}

type isZeroer interface{ IsZero() bool }

var isZeroerType = reflect.TypeFor[isZeroer]()
