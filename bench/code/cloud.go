package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

const (
	rowOne       = "simulated board: one command after the other, conductor's topic to board and back, p50 / p99"
	rowMany      = "100 simulated boards: commands a second, 128 at a time"
	rowFleet     = "1,000 simulated boards: one command on all, all results, median of 10"
	rowFlashOne  = "journal on flash, one command after the other"
	rowFlashMany = "journal on flash, 16 commands at a time"
	rowDiskOne   = "journal on this disk, one command after the other"
	rowDiskMany  = "journal on this disk, 16 commands at a time"
)

// measureCloud takes the benchmarks of the cloud's part.
func measureCloud(ctx context.Context, _ options, p *page) error {
	one, err := benchmark(ctx, "./internal/cloudtest", "Command", "3000x")
	if err != nil {
		return err
	}
	many, err := benchmark(ctx, "./internal/cloudtest", "Commands", "20000x")
	if err != nil {
		return err
	}
	fleet, err := benchmark(ctx, "./internal/cloudtest", "CommandOfAFleet", "10x")
	if err != nil {
		return err
	}
	p.add(rowOne, "<= 3 ms / 15 ms", verdict(one["p50-ms"] <= 3 && one["p99-ms"] <= 15), "%.2f / %.2f ms", one["p50-ms"], one["p99-ms"])
	p.add(rowMany, ">= 2,000", verdict(many["commands/s"] >= 2000), "%.0f", many["commands/s"])
	p.add(rowFleet, "<= 2 s", verdict(fleet["p50-ms"] <= 2000), "%.2f s", fleet["p50-ms"]/1000)
	return nil
}

// measureJournal takes the benchmarks of the board's journal.
func measureJournal(ctx context.Context, _ options, p *page) error {
	for _, b := range []struct {
		row, name string
		target    float64
	}{{rowFlashOne, "FlashOneByOne", 0}, {rowFlashMany, "Flash16AtATime", 200}, {rowDiskOne, "ThisDiskOneByOne", 0}, {rowDiskMany, "ThisDisk16AtATime", 0}} {
		v, err := benchmark(ctx, "./plugin/journal", b.name, "2s")
		if err != nil {
			return err
		}
		target, met := "", ""
		if b.target > 0 {
			target, met = fmt.Sprintf(">= %.0f/s", b.target), verdict(v["commands/s"] >= b.target)
		}
		p.add(b.row, target, met, "%.0f/s, %.2f syncs a command", v["commands/s"], v["syncs/command"])
	}
	return nil
}

// benchmark runs one of the package's and returns its figures by their units.
func benchmark(ctx context.Context, pkg, name, times string) (map[string]float64, error) {
	out, err := exec.CommandContext(ctx, "go", "test", pkg, "-run", "^$", "-bench", "^Benchmark"+name+"$", "-benchtime", times).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w: %s", name, pkg, err, out)
	}
	figures := map[string]float64{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) < 4 || !strings.HasPrefix(words[0], "Benchmark"+name) {
			continue
		}
		for i := 2; i+1 < len(words); i += 2 {
			if figures[words[i+1]], err = strconv.ParseFloat(words[i], 64); err != nil {
				return nil, fmt.Errorf("%s of %s printed %q", name, pkg, line)
			}
		}
	}
	if len(figures) == 0 {
		return nil, fmt.Errorf("%s of %s printed no figures: %s", name, pkg, out)
	}
	return figures, nil
}
