// Command oracle says what Go's text/template makes of templates.
//
//	oracle serve       answers cases on standard input, one JSON object a line
//	oracle make DIR    writes the cases of this program, with Go's answers, to files of DIR
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		serve()
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "make" {
		for name, cases := range tables() {
			write(os.Args[2]+"/"+name+".jsonl", cases)
		}
		if err := os.WriteFile(os.Args[2]+"/standard.json", []byte(standard+"\n"), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "oracle:", err)
			os.Exit(1)
		}
		return
	}
	fmt.Fprintln(os.Stderr, "usage: oracle serve | oracle make DIR")
	os.Exit(2)
}

// serve answers each line with a line, and flushes when no further line waits.
func serve() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			break
		}
		var asked Case
		if err := json.Unmarshal(line, &asked); err != nil {
			fmt.Fprintln(os.Stderr, "oracle:", err)
			os.Exit(1)
		}
		if err := encoder.Encode(answer(asked)); err != nil {
			os.Exit(1)
		}
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
	out.Flush()
}

func write(path string, cases []Case) {
	file, err := os.Create(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
	defer file.Close()
	encoder := json.NewEncoder(file)
	encoder.SetEscapeHTML(false)
	for _, asked := range cases {
		answered := struct {
			Case
			Answer
		}{asked, answer(asked)}
		if answered.large() {
			continue
		}
		if err := encoder.Encode(answered); err != nil {
			fmt.Fprintln(os.Stderr, "oracle:", err)
			os.Exit(1)
		}
	}
}
