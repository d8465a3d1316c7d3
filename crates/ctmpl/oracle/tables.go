package main

// standard is the dot of the cases that do not bring their own.
const standard = `{
  "s": "hello", "empty": "", "n": 17, "zero": 0, "neg": -3, "f": 1.5, "big": 1e21, "t": true,
  "x": false, "nil": null, "list": ["a", "b", 3, null, [1, 2], {"k": "v"}], "none": [],
  "nums": [3, 1, 2], "m": {"a": 1, "b": "two", "c": {"d": {"e": "deep"}}, "z": null}, "nomap": {},
  "num": {"$number": "12"}, "frac": {"$number": "1.50"}, "raw": {"$bytes": "ff61c3a4"},
  "texts": {"$texts": ["x", "y", "z"]}, "ints": {"$ints": [1, 2, 3]}, "u": {"$uint": 7},
  "i64": {"$int64": 9}, "tm": {"$map": {"k1": "v1", "k2": "v2"}}, "uni": "äöü€𝄞",
  "html": "<a href=\"x\">'&'</a>", "dur": {"$duration": 90000000000}
}`

// missings are the settings for missing keys; "" is Go's default.
var missings = []string{"", "zero", "error"}

func tables() map[string][]Case {
	made := map[string][]Case{
		"syntax":   of(syntax),
		"actions":  of(actions),
		"builtins": of(builtins),
		"printf":   of(printfs()),
		"pairs":    of(pairs()),
		"numbers":  of(numbers()),
		"fields":   everyMissing(fields()),
		"errors":   everyMissing(mistakes),
	}
	made["delimiters"] = delimiters()
	return made
}

// of makes cases of templates, with the standard data.
func of(templates []string) []Case {
	var cases []Case
	for _, text := range templates {
		cases = append(cases, Case{Template: text, Standard: true})
	}
	return cases
}

func everyMissing(templates []string) []Case {
	var cases []Case
	for _, missing := range missings {
		for _, asked := range of(templates) {
			asked.Missing = missing
			cases = append(cases, asked)
		}
	}
	return cases
}
