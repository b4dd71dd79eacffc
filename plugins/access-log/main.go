// Command access-log summarizes the access log of a web server: access-log [-top N] < access.log
//
// It reads the common and the combined format, as nginx and Apache write them, and prints JSON. An ordinary
// program that knows nothing of Wasmill: stdin is the log, stdout the result, stderr the log of the task, and
// an exit code other than 0 fails it.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// The maximum length of a line; longer ones fail the run.
const lineBytesMax = 1 << 20

// 203.0.113.7 - ada [23/Nov/2026:07:26:49 +0000] "GET /a?b HTTP/1.1" 200 1234 …
var line = regexp.MustCompile(`^(\S+) \S+ .*?\[([^\]]+)\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-)`)

// Summary is the result.
type Summary struct {
	Requests   int            `json:"requests"`
	Unreadable int            `json:"unreadable_lines"`
	First      *time.Time     `json:"first"`
	Last       *time.Time     `json:"last"`
	Clients    int            `json:"clients"`
	Bytes      int64          `json:"bytes"`
	Statuses   map[string]int `json:"statuses"`
	Methods    map[string]int `json:"methods"`
	Hours      map[string]int `json:"hours"`
	Paths      []Count        `json:"top_paths"`
	Failing    []Count        `json:"top_failing_paths"`
	Busiest    []Count        `json:"top_clients"`
}

// Count is the number of occurrences of a name.
type Count struct {
	Name  string `json:"name"`
	Times int    `json:"times"`
}

func main() {
	top := flag.Int("top", 10, "how many paths and clients to list")
	flag.Parse()
	if flag.NArg() > 0 || *top < 0 {
		fmt.Fprintln(os.Stderr, "usage: access-log [-top N] < access.log")
		os.Exit(2)
	}
	summary, err := sumUp(os.Stdin, *top)
	if err == nil {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(summary)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "access-log:", err)
		os.Exit(1)
	}
}

func sumUp(log io.Reader, top int) (*Summary, error) {
	summary := &Summary{Statuses: map[string]int{}, Methods: map[string]int{}, Hours: map[string]int{}}
	paths, failing, clients := map[string]int{}, map[string]int{}, map[string]int{}
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, lineBytesMax)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		fields := line.FindStringSubmatch(lines.Text())
		if fields == nil || !summary.addTime(fields[2]) {
			summary.Unreadable++
			continue
		}
		method, path := request(fields[3])
		summary.Requests++
		summary.Statuses[fields[4]]++
		summary.Methods[method]++
		bytes, _ := strconv.ParseInt(fields[5], 10, 64) // "-" is none
		summary.Bytes += bytes
		clients[fields[1]]++
		paths[path]++
		if fields[4] >= "400" {
			failing[path]++
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if summary.Requests == 0 {
		return nil, errors.New("no line is one of an access log in the common or combined format")
	}
	fmt.Fprintf(os.Stderr, "%d requests, %d lines not understood\n", summary.Requests, summary.Unreadable)
	summary.Clients = len(clients)
	summary.Paths, summary.Failing, summary.Busiest = most(paths, top), most(failing, top), most(clients, top)
	return summary, nil
}

// addTime counts the request for its hour, and reports whether it has a valid time.
func (s *Summary) addTime(text string) bool {
	at, err := time.Parse("02/Jan/2006:15:04:05 -0700", text)
	if err != nil {
		return false
	}
	s.Hours[at.Format("15")]++
	if s.First == nil || at.Before(*s.First) {
		s.First = &at
	}
	if s.Last == nil || at.After(*s.Last) {
		s.Last = &at
	}
	return true
}

// request splits "GET /a?b HTTP/1.1" into its method and its path without the query.
func request(text string) (method, path string) {
	parts := strings.Fields(text)
	if len(parts) < 2 {
		return "none", text
	}
	if target, err := url.ParseRequestURI(parts[1]); err == nil {
		return parts[0], target.Path
	}
	return parts[0], parts[1]
}

// most returns the n most frequent names, ties in alphabetical order.
func most(counts map[string]int, n int) []Count {
	all := make([]Count, 0, len(counts))
	for name, times := range counts {
		all = append(all, Count{name, times})
	}
	sort.Slice(all, func(i, j int) bool {
		return all[i].Times > all[j].Times || all[i].Times == all[j].Times && all[i].Name < all[j].Name
	})
	return all[:min(n, len(all))]
}
