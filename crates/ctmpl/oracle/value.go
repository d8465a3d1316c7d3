package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// value reads the data of a case: JSON, with numbers as int or, if they have a point or an
// exponent, float64. An object of one key that begins with a dollar sign is a value of a type that
// JSON has not:
//
//	{"$number": "12"}   json.Number
//	{"$bytes": "ff00"}  a string, in hexadecimal digits
//	{"$texts": [...]}   []string
//	{"$ints": [...]}    []int
//	{"$map": {...}}     map[string]string
//	{"$uint": 1}        uint64
//	{"$int64": 1}       int64
//	{"$duration": 1}    time.Duration
func value(raw json.RawMessage) (any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var read any
	if err := decoder.Decode(&read); err != nil {
		return nil, err
	}
	return convert(read)
}

func convert(read any) (any, error) {
	switch read := read.(type) {
	case json.Number:
		if strings.ContainsAny(read.String(), ".eE") {
			return read.Float64()
		}
		number, err := read.Int64()
		return int(number), err
	case []any:
		list := make([]any, len(read))
		for i, item := range read {
			converted, err := convert(item)
			if err != nil {
				return nil, err
			}
			list[i] = converted
		}
		return list, nil
	case map[string]any:
		if len(read) == 1 {
			for key, item := range read {
				if strings.HasPrefix(key, "$") {
					return typed(key, item)
				}
			}
		}
		object := make(map[string]any, len(read))
		for key, item := range read {
			converted, err := convert(item)
			if err != nil {
				return nil, err
			}
			object[key] = converted
		}
		return object, nil
	}
	return read, nil
}

func typed(key string, item any) (any, error) {
	switch key {
	case "$number":
		return json.Number(item.(string)), nil
	case "$bytes":
		decoded, err := hex.DecodeString(item.(string))
		return string(decoded), err
	case "$texts":
		texts := []string{}
		for _, text := range item.([]any) {
			texts = append(texts, text.(string))
		}
		return texts, nil
	case "$ints":
		ints := []int{}
		for _, number := range item.([]any) {
			read, err := number.(json.Number).Int64()
			if err != nil {
				return nil, err
			}
			ints = append(ints, int(read))
		}
		return ints, nil
	case "$map":
		texts := map[string]string{}
		for key, text := range item.(map[string]any) {
			texts[key] = text.(string)
		}
		return texts, nil
	case "$uint":
		number, err := item.(json.Number).Int64()
		return uint64(number), err
	case "$int64":
		return item.(json.Number).Int64()
	case "$duration":
		number, err := item.(json.Number).Int64()
		return time.Duration(number), err
	}
	return nil, fmt.Errorf("no type %s", key)
}
