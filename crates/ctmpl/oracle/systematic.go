package main

import (
	"fmt"
	"strings"
)

// operands are words of every kind.
var operands = []string{
	".s", ".empty", ".n", ".zero", ".neg", ".f", ".big", ".t", ".x", ".nil", ".list", ".none",
	".m", ".nomap", ".num", ".frac", ".raw", ".texts", ".ints", ".u", ".i64", ".tm", ".uni",
	".missing", ".", "nil", "1", "-1", "1.5", "1e3", "'a'", `"text"`, "`raw`", "true", "false",
	"1i", "1+2i", "0x1F", ".dur",
}

// pairs are all comparisons of two operands, and other functions of two.
func pairs() []string {
	var out []string
	compared := []string{
		".s", ".n", ".f", ".t", ".nil", ".list", ".m", ".num", ".u", ".i64", ".missing", "nil", "1",
		"-1", "1.5", `"hello"`, "true", "1i", ".texts", ".",
	}
	for _, function := range []string{"eq", "ne", "lt", "le", "gt", "ge"} {
		for _, left := range compared {
			for _, right := range compared {
				if function != "eq" && function != "lt" && left > right {
					continue
				}
				out = append(out, fmt.Sprintf("{{%s %s %s}}", function, left, right))
			}
		}
	}
	for _, function := range []string{"index", "slice", "and", "or", "print"} {
		for _, left := range compared {
			for _, right := range []string{"0", "1", "9", "-1", `"a"`, "nil", ".n", ".t", ".nil", ".u"} {
				out = append(out, fmt.Sprintf("{{%s %s %s}}", function, left, right))
			}
		}
	}
	return out
}

// printfs are all verbs with flags for all kinds of operands.
func printfs() []string {
	var out []string
	verbs := "vTtbcdoOqxXUeEfFgGspwz%"
	values := []string{
		".s", ".n", ".neg", ".f", ".t", ".nil", ".list", ".m", ".num", ".raw", ".texts", ".ints",
		".u", ".tm", ".uni", "1+2i", ".empty", ".zero", ".big", ".dur",
	}
	for _, verb := range verbs {
		for _, value := range values {
			if verb == 'p' && strings.Contains(".list.m.texts.ints.tm", value) {
				// Addresses.
				continue
			}
			out = append(out, fmt.Sprintf("{{printf `%%%c` %s}}", verb, value))
		}
	}
	flags := []string{
		"+", "-", "#", " ", "0", "5", "-5", "05", "+5", " 5", "#5", "08.3", ".0", ".1", ".3", ".10",
		"12.4", "-12.4", "+.2", "# ", "+#", "020", "-020", "#020",
	}
	for _, flag := range flags {
		for _, verb := range "vdqxXsefgoUcbt" {
			for _, value := range []string{".s", ".neg", ".f", ".n", ".uni", ".zero", "1e-7", "-2.5e20"} {
				if (len(flag)+int(verb)+len(value))%2 == 0 && len(flag) > 2 {
					continue
				}
				out = append(out, fmt.Sprintf("{{printf `[%%%s%c]` %s}}", flag, verb, value))
			}
		}
	}
	for _, format := range []string{
		"%", "%d", "%d %d", "%[1]d %[1]d", "%[2]d %[1]d", "%[3]d", "%[0]d", "%[x]d", "%[1", "%[]d",
		"%[-1]d", "%*d", "%-*d", "%.*f", "%*.*f", "%[2]*[1]d", "%[1]*d", "%6.", "%.", "%!", "%5%",
		"%-5d|", "%.[2]*f", "%[1].2f", "%[2]2d", "%!d", "%s%s%s", "%v %v", "%1000001d", "%99999999d",
		"%.1000001d", "%[1000000]d", "%é", "%", "%%", "100%", "%+v", "%#v", "%+q", "%#q", "%x", "% x",
		"%# x", "%08b", "%o", "%#o", "%O", "%c", "%U", "%#U", "%e", "%G", "%6.2f|%-8s|%08d",
	} {
		for _, values := range []string{"", "1", "1 2", "2 1 3", `"a"`, "3 1.5", "-3 7", ".list .m"} {
			out = append(out, fmt.Sprintf("{{printf %q %s}}", format, values))
		}
	}
	return out
}

// numbers are constants, well and badly written.
func numbers() []string {
	var out []string
	for _, number := range []string{
		"0", "1", "-1", "+1", "007", "08", "0o17", "0O17", "0b101", "0B1", "0b2", "0x1F", "0XaF", "0x",
		"1_000", "1__0", "_1", "1_", "0x_1F", "0_7", "1.5", ".5", "1.", "-.5", "1e3", "1E3", "1e+3",
		"1e-3", "1e", "1e400", "1.5e-400", "0x1p4", "0x1.8p1", "0x1P-2", "0x1.8", "1p4", "1i", "1.5i",
		"0i", "1+2i", "1-2i", "1.5+2.5i", "1e3+2e-3i", "0x1p4+1i", "1+2", "1+i", "+1+2i", "-1-2i",
		"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
		"18446744073709551615", "18446744073709551616", "0xFFFFFFFFFFFFFFFF", "1e18", "1e19", "'a'",
		"'\\n'", "'\\''", "'\\x41'", "'\\u00e4'", "'\\U0001F600'", "'\\101'", "'ä'", "'ab'", "''",
		"'\\400'", "'\\\"'", "1a", "0x1g", "1.2.3", "1e3e4", "--1", "-", "+", ".", "..", "1..2", "0.",
		"00.5", "-0", "-0.0", "1.0", "100000000000000000000.0", "123456789.0", "0.000001", "0.00001",
		"1e20", "1e21", "3.0e0", "0b1.0", "0e0", "1_0.5", "1.5_0", "0x1_Fp0", "1e1_0", "0b_1", "0o_7",
		"08.5", "'\\z'", "'", "'a", "0xi", "0x1i", "0b1i", "1_0i", "012i",
	} {
		for _, form := range []string{"{{%s}}", "{{printf `%%T %%v` %s %[1]s}}", "{{print (%s)}}"} {
			out = append(out, fmt.Sprintf(form, number))
		}
	}
	return out
}

// fields are fields, keys and arguments of every kind of operand.
func fields() []string {
	var out []string
	for _, operand := range operands {
		for _, form := range []string{
			"{{%s}}", "{{print %s}}", "{{(%s).foo}}", "{{%s 1}}", "{{1 | %s}}", "{{len %s}}",
			"{{not %s}}", "{{if %s}}yes{{else}}no{{end}}", "{{with %s}}{{.}}{{else}}no{{end}}",
			"{{range %s}}[{{.}}]{{else}}no{{end}}", "{{range $i, $v := %s}}{{$i}}={{$v}};{{end}}",
			"{{printf `%%v|%%T` %s %[1]s}}", "{{html %s}}", "{{call %s}}", "{{%[1]s | len}}",
			"{{printf %s}}", "{{index %s}}", "{{slice %s}}", "{{$v := %s}}{{$v}}{{$v.foo}}",
		} {
			out = append(out, fmt.Sprintf(form, operand))
		}
	}
	for _, path := range []string{
		".m.a", ".m.c.d.e", ".m.c.d.x", ".m.x.y", ".m.z.y", ".s.x", ".n.x", ".list.x", ".nil.x.y",
		".missing.x.y", ".tm.k1", ".tm.k9", ".tm.k9.x", "$.m.a", "$.m.c.d.e", "(.m).a", "(.m.c).d.e",
		"(index .list 5).k", "(index .list 0).k", "(index .list 3).k", ".m.a.b", ".t.x", ".f.x",
		".num.x", ".num.String", ".num.Int64", ".frac.Int64", ".frac.Float64", ".num.Int64 1",
		".dur.Seconds", ".dur.Hours", ".dur.String", ".dur.x", ".u.x", "$.missing.y", "$x.y",
	} {
		for _, form := range []string{"{{%s}}", "{{print %s}}", "{{%s | print}}", "{{range %s}}{{.x}}{{end}}",
			"{{with %s}}{{.a}}{{end}}"} {
			out = append(out, fmt.Sprintf(form, path))
		}
	}
	return out
}

// delimiters are templates with delimiters of their own.
func delimiters() []Case {
	var cases []Case
	for _, pair := range [][2]string{{"<<", ">>"}, {"[[", "]]"}, {"{%", "%}"}, {"(", ")"}, {"|", "|"},
		{"$", "$"}, {"{{{", "}}}"}, {"ä", "ö"}, {"", ">>"}, {"-", "-"}, {"{{", "}}}"}} {
		for _, form := range []string{
			"a L.nR b", "L- .n -R", "a L- .n -R b", "L/* c */Rx", "L- /* c */ -R x", "Lif .tRyLelseRnLendR",
			"Lrange .numsRL.RLendR", "Ltemplate `x`R", "Ldefine `x`RL.RLendRLtemplate `x` .nR", "L.nR}} {{ L",
			"LprintfR", "L`LR`R", "Lprintf `%d` .sR", "Lif .tR", "Lbreak R", "L.sR.x", "L.x", "L1R", "Lnil.xR",
			"Lblock `b` .RL.sRLendR", "Lrange .nilRxLelseRL.sRLendR", "L(len .s)R", "L \nR", "L$x := 1RL$xR",
		} {
			text := strings.NewReplacer("L", orElse(pair[0], "{{"), "R", orElse(pair[1], "}}")).Replace(form)
			cases = append(cases, Case{Template: text, Standard: true, Left: pair[0], Right: pair[1]})
		}
	}
	return cases
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
