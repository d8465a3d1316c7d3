// Command functions says what consul-template makes of templates that call its functions, and
// sprig's.
//
//	functions FILE    writes the cases of this program, with the answers, to FILE
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/consul-template/template"
)

type row struct {
	Template  string  `json:"template"`
	Output    *string `json:"output,omitempty"`
	OutputHex string  `json:"output_hex,omitempty"`
	Error     string  `json:"error,omitempty"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: functions FILE")
		os.Exit(2)
	}
	log.SetOutput(io.Discard)
	file, err := os.Create(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "functions:", err)
		os.Exit(1)
	}
	defer file.Close()
	encoder := json.NewEncoder(file)
	encoder.SetEscapeHTML(false)
	for _, text := range append(cases, combined()...) {
		if err := encoder.Encode(answer(text)); err != nil {
			fmt.Fprintln(os.Stderr, "functions:", err)
			os.Exit(1)
		}
	}
}

func answer(text string) row {
	made, err := template.NewTemplate(&template.NewTemplateInput{Contents: text})
	if err != nil {
		return row{Template: text, Error: err.Error()}
	}
	result, err := made.Execute(&template.ExecuteInput{
		Brain: template.NewBrain(),
		Env:   []string{"HOLDFAST_A=one", "HOLDFAST_EMPTY="},
	})
	if err != nil {
		message := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "execute: "), "parse: ")
		return row{Template: text, Error: message}
	}
	if utf8.Valid(result.Output) {
		output := string(result.Output)
		return row{Template: text, Output: &output}
	}
	return row{Template: text, OutputHex: hex.EncodeToString(result.Output)}
}

// ownWay reports texts that Holdfast treats in a way of its own: sprig takes bytes for characters, or
// separates punctuation.
func ownWay(function, text string) bool {
	switch function {
	case "sprig_nospace", "sprig_initials":
		return strings.ContainsFunc(text, func(r rune) bool { return r > 127 })
	case "sprig_snakecase", "sprig_kebabcase":
		return strings.ContainsAny(text, "<\x01")
	}
	return false
}

// combined are functions of one text over texts of many kinds.
func combined() []string {
	texts := []string{
		"", "a", "hello world", "Hello  World\n", "äöü ÄÖÜ ß", "a_b-c d", "HTTPServer2xOK", "x,y,,z",
		"<a href=\"x\">&'</a>", "tab\there", "line1\nline2\n\nline4", "true", "12", "-3.50", "0x1f",
		"2024-01-02", "null", "~", "yes", "a: b", "- x", "#c", " lead", "trail ", "\x01ctl", "é\u2028",
		"'q'", "\"dq\"", "back\\slash", "%d", "{}", "[]", "1:30", "0o17", "1e3", ".5", "@at", "!bang",
		strings.Repeat("word ", 30), "key: |\n  x", "ends\n\n",
	}
	functions := []string{
		"toUpper", "toLower", "toTitle", "trimSpace", "base64Encode", "base64URLEncode", "sha256Hex", "md5sum",
		"toJSON", "toJSONPretty", "toUnescapedJSON", "toYAML", "parseBool", "parseInt", "parseUint",
		"parseFloat", "indent 2", "split `,`", "base64Decode", "base64URLDecode", "hmacSHA256Hex `m`",
		"sprig_upper", "sprig_lower", "sprig_title", "sprig_untitle", "sprig_swapcase", "sprig_trim",
		"sprig_nospace", "sprig_initials", "sprig_quote", "sprig_squote", "sprig_b64enc", "sprig_b32enc",
		"sprig_b64dec", "sprig_b32dec", "sprig_sha1sum", "sprig_sha256sum", "sprig_sha512sum", "sprig_adler32sum",
		"sprig_atoi", "sprig_int", "sprig_int64", "sprig_float64", "sprig_toDecimal", "sprig_base", "sprig_dir",
		"sprig_clean", "sprig_ext", "sprig_isAbs", "sprig_empty", "sprig_typeOf", "sprig_kindOf",
		"sprig_trunc 3", "sprig_trunc -3", "sprig_indent 2", "sprig_nindent 2", "sprig_wrap 10",
		"sprig_abbrev 8", "sprig_abbrevboth 5 10", "sprig_splitList `,`", "sprig_regexQuoteMeta", "sprig_repeat 2",
		"sprig_toJson", "sprig_toRawJson", "sprig_default `d`", "sprig_cat 1 nil", "sprig_substr 0 3", "sprig_toString",
		"sprig_snakecase", "sprig_kebabcase", "sprig_wrapWith 5 `|`", "sprig_toStrings",
	}
	var out []string
	for _, function := range functions {
		for _, text := range texts {
			if ownWay(function, text) {
				continue
			}
			out = append(out, fmt.Sprintf("{{%q | %s}}", text, function))
		}
	}
	numbers := []string{"0", "1", "-7", "3", "2.5", "-0.5", "1e10", `"4"`, `"x"`, "true", "nil", "parseUint `9`"}
	for _, function := range []string{"add", "subtract", "multiply", "divide", "modulo", "minimum", "maximum",
		"sprig_add", "sprig_sub", "sprig_mul", "sprig_div", "sprig_mod", "sprig_max", "sprig_min", "sprig_addf",
		"sprig_subf", "sprig_mulf", "sprig_maxf", "sprig_minf"} {
		for _, left := range numbers {
			for _, right := range numbers {
				if strings.HasPrefix(function, "sprig_") && (left > right) {
					continue
				}
				out = append(out, fmt.Sprintf("{{%s (%s) (%s)}}", function, left, right))
			}
		}
	}
	documents := []string{
		`{}`, `[]`, `null`, `1`, `1.0`, `1e21`, `1e-7`, `123456789012`, `"x"`, `true`, `[1,"a",null,true,[2],{"b":1}]`,
		`{"a":1,"b":"two","c":[1,2],"d":{"e":{"f":null}},"g":[]}`, `{"k10":1,"k9":2,"K1":3,"_x":4,"1":5}`,
		`{"t":"yes","n":"1","u":"a: b","m":"l1\nl2","e":"","sp":" x"}`, `[[1,2],[3,[4]]]`, `[{"a":1,"b":[{"c":2}]},{"d":{}}]`,
		`{"x":{"y":{"z":1}},"l":[{"a":1},{"a":2}]}`, `"<&>"`, `{"f":0.1,"g":100000.5,"h":1e6}`,
		`{"a b":1,"c.d":2,"":3,"ä":4}`, `{"list":[["a"],[]],"n":null}`,
	}
	for _, document := range documents {
		for _, function := range []string{"toJSON", "toJSONPretty", "toUnescapedJSONPretty", "toYAML", "toTOML",
			"print", "printf `%v`", "sprig_toPrettyJson", "sprig_kindOf", "sprig_typeOf", "sprig_empty"} {
			out = append(out, fmt.Sprintf("{{%q | parseJSON | %s}}", document, function))
		}
	}
	yamls := []string{
		"a: 1\nb: [1, 2]\nc:\n  d: e", "- 1\n- two\n- ~\n- yes\n- 1.5", "x: &a {y: 1}\nz: *a", "a: |\n  t1\n  t2\nb: >\n  f1\n  f2",
		"1: one\ntrue: t", "a: 0x1f\nb: 017\nc: 0b11\nd: 1_000\ne: .inf", "a: \"q\\n\"\nb: 'it''s'", "plain text", "", "[]", "{}",
		"a: {<<: {x: 1}, y: 2}", "a: 12e03\nb: 0.5\nc: -1", "- - a\n  - b\n- c", "? k\n: v", "a: !!str 1\nb: !!float 1",
		"--- 1\n--- 2", "a: null\nb: Null\nc: ''",
	}
	for _, document := range yamls {
		for _, function := range []string{"toJSON", "print", "toYAML"} {
			out = append(out, fmt.Sprintf("{{%q | parseYAML | %s}}", document, function))
		}
	}
	return out
}
