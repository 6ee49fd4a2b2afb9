package expr

func dateCalculations() map[string]*operator { return map[string]*operator{} }
