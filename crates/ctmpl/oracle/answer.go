package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"text/template"
	"unicode/utf8"
)

// Case is a template and what it is given.
type Case struct {
	// Template is the text; TemplateHex the same where it is not UTF-8.
	Template    string `json:"template,omitempty"`
	TemplateHex string `json:"template_hex,omitempty"`
	// Data is the value of the dot: see value. Standard stands for the data of the tables.
	Data     json.RawMessage `json:"data,omitempty"`
	Standard bool            `json:"standard,omitempty"`

	Left    string `json:"left,omitempty"`
	Right   string `json:"right,omitempty"`
	Missing string `json:"missing,omitempty"`
}

// Answer is what Go makes of it.
type Answer struct {
	Output    *string `json:"output,omitempty"`
	OutputHex string  `json:"output_hex,omitempty"`
	Error     string  `json:"error,omitempty"`
}

// most is how much a template may write.
const most = 1 << 20

// large reports an answer that is no use in a table.
func (a Answer) large() bool {
	return strings.HasPrefix(a.Error, "oracle:") || a.Output != nil && len(*a.Output) > 1<<13
}

type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > most {
		return 0, errors.New("oracle: too much output")
	}
	return b.Buffer.Write(p)
}

func answer(asked Case) Answer {
	text := asked.Template
	if asked.TemplateHex != "" {
		decoded, err := hex.DecodeString(asked.TemplateHex)
		if err != nil {
			return Answer{Error: "oracle: " + err.Error()}
		}
		text = string(decoded)
	}
	if asked.Standard {
		asked.Data = json.RawMessage(standard)
	}
	data, err := value(asked.Data)
	if err != nil {
		return Answer{Error: "oracle: " + err.Error()}
	}
	made := template.New("t").Delims(asked.Left, asked.Right)
	if asked.Missing != "" {
		made = made.Option("missingkey=" + asked.Missing)
	}
	parsed, err := made.Parse(text)
	if err != nil {
		return Answer{Error: strings.ToValidUTF8(err.Error(), "\uFFFD")}
	}
	var out bounded
	if err := parsed.Execute(&out, data); err != nil {
		return Answer{Error: strings.ToValidUTF8(err.Error(), "\uFFFD")}
	}
	if utf8.Valid(out.Bytes()) {
		text := out.String()
		return Answer{Output: &text}
	}
	return Answer{OutputHex: hex.EncodeToString(out.Bytes())}
}
