package main

import "context"

const rowOriginal = "x"

func measureOriginal(ctx context.Context, o options, p *page) error { return nil }
