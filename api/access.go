package api

import (
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
)

// Needs is what a route needs of who calls it. The conductor decides; this says what it decides, in
// the API's document and in docs/security.md, and a test asks each route for each kind of caller.
type Needs struct {
	Role  s4t.Role     // the weakest that may
	Lease lease.Action // of a board that is leased to the caller's project: what the lease allows; [AnyAction]; empty: the owner only
}

// AnyAction is a lease of the board, whatever it allows.
const AnyAction lease.Action = "any"

// The roles, as the table has them.
const (
	reader  = s4t.RoleReader
	member  = s4t.RoleMember
	manager = s4t.RoleManager
	admin   = s4t.RoleAdmin
)

// RouteNeeds are all routes that need a token. Those whose answer depends on the role say the weakest
// that gets one.
var RouteNeeds = map[string]Needs{
	"GET /v1/agents":                  {admin, ""},
	"GET /v1/agents/{agent}":          {admin, ""},
	"PUT /v1/agents/{agent}/drain":    {admin, ""},
	"DELETE /v1/agents/{agent}/drain": {admin, ""},

	"GET /v1/audit":       {reader, ""},
	"GET /v1/audit/chain": {reader, ""},
	"GET /v1/audit/head":  {reader, ""},
	"GET /v1/cloud":       {reader, ""}, // processes: admin
	"GET /v1/metrics":     {reader, ""},
	"GET /v1/events":      {reader, ""},

	"GET /v1/boards":                     {reader, ""},
	"POST /v1/boards":                    {member, ""},
	"GET /v1/boards/{board}":             {reader, AnyAction},
	"PATCH /v1/boards/{board}":           {member, ""},
	"DELETE /v1/boards/{board}":          {member, ""},
	"GET /v1/boards/{board}/access":      {reader, AnyAction},
	"GET /v1/boards/{board}/doctor":      {reader, AnyAction},
	"GET /v1/boards/{board}/outages":     {reader, AnyAction},
	"GET /v1/boards/{board}/profile":     {reader, AnyAction},
	"GET /v1/boards/{board}/status":      {reader, AnyAction},
	"GET /v1/boards/{board}/places":      {reader, ""},
	"POST /v1/boards/{board}/transfer":   {manager, ""},
	"DELETE /v1/boards/{board}/transfer": {manager, ""},
	"POST /v1/boards/claim":              {manager, ""},
	"GET /v1/search/boards":              {reader, ""},
	"POST /v1/search/boards":             {reader, ""},
	"POST /v1/boards/{board}/streams":    {member, lease.SSH}, // to another service than SSH: service

	"GET /v1/boards/{board}/services":              {reader, lease.Service},
	"POST /v1/boards/{board}/services":             {member, lease.Service},
	"PATCH /v1/boards/{board}/services/{service}":  {member, lease.Service},
	"DELETE /v1/boards/{board}/services/{service}": {member, lease.Service},
	"GET /v1/services":                             {reader, ""},
	"GET /v1/services/{service}":                   {reader, ""},

	"GET /v1/boards/{board}/pins":                {reader, lease.Pins},
	"PUT /v1/boards/{board}/pins":                {member, lease.Pins},
	"GET /v1/boards/{board}/pins/stream":         {reader, lease.Pins},
	"GET /v1/boards/{board}/pins/{pin}":          {reader, lease.Pins},
	"PUT /v1/boards/{board}/pins/{pin}":          {member, lease.Pins},
	"PATCH /v1/boards/{board}/pins/{pin}":        {member, lease.Pins},
	"POST /v1/boards/{board}/pins/{pin}/claim":   {member, lease.Pins},
	"DELETE /v1/boards/{board}/pins/{pin}/claim": {member, lease.Pins},
	"GET /v1/boards/{board}/pins/{pin}/history":  {reader, lease.Pins},
	"GET /v1/boards/{board}/pins/{pin}/sample":   {reader, lease.Pins},
	"GET /v1/boards/{board}/pins/{pin}/stream":   {reader, lease.Pins},
	"GET /v1/boards/{board}/pins/{pin}/value":    {reader, lease.Pins},
	"PUT /v1/boards/{board}/pins/{pin}/value":    {member, lease.Pins},
	"GET /v1/boards/{board}/td":                  {reader, lease.Pins},
	"GET /v1/pins":                               {reader, ""},
	"GET /v1/td":                                 {reader, ""},
	"GET /v1/td/{thing}":                         {reader, lease.Pins},

	"GET /v1/boards/{board}/commands":                     {reader, lease.Commands},
	"GET /v1/boards/{board}/commands/{command}":           {reader, lease.Commands},
	"POST /v1/boards/{board}/commands/{command}":          {member, lease.Commands},
	"GET /v1/boards/{board}/openapi.json":                 {reader, lease.Commands},
	"GET /v1/commands":                                    {reader, ""},
	"POST /v1/commands/{command}":                         {member, lease.Commands},
	"POST /v1/fleets/{fleet}/commands/{command}":          {member, ""},
	"GET /v1/boards/{board}/plugins":                      {reader, lease.Plugins},
	"GET /v1/boards/{board}/plugins/{plugin}":             {reader, lease.Plugins},
	"PUT /v1/boards/{board}/plugins/{plugin}":             {member, lease.Plugins},
	"DELETE /v1/boards/{board}/plugins/{plugin}":          {member, lease.Plugins},
	"GET /v1/boards/{board}/plugins/{plugin}/logs":        {reader, lease.Plugins},
	"GET /v1/boards/{board}/plugins/{plugin}/logs/stream": {reader, lease.Plugins},
	"POST /v1/boards/{board}/plugins/{plugin}/restart":    {member, lease.Plugins},
	"POST /v1/boards/{board}/plugins/{plugin}/start":      {member, lease.Plugins},
	"POST /v1/boards/{board}/plugins/{plugin}/stop":       {member, lease.Plugins},
	"POST /v1/boards/{board}/plugins/{plugin}/upgrade":    {member, lease.Plugins},
	"GET /v1/plugins":                                     {reader, ""},
	"POST /v1/plugins":                                    {member, ""},
	"GET /v1/plugins/{plugin}":                            {reader, ""},
	"DELETE /v1/plugins/{plugin}":                         {member, ""},
	"DELETE /v1/plugins/{plugin}/versions/{version}":      {member, ""},
	"GET /v1/bundles/{digest}":                            {reader, ""},
	"PUT /v1/bundles/{digest}":                            {member, ""},

	"GET /v1/bridges":                         {reader, ""},
	"POST /v1/bridges":                        {member, lease.Bridge},
	"GET /v1/bridges/{bridge}":                {reader, ""},
	"DELETE /v1/bridges/{bridge}":             {member, ""},
	"POST /v1/bridges/{bridge}/boards":        {member, lease.Bridge},
	"POST /v1/bridges/{bridge}/boards/remove": {member, lease.Bridge},
	"GET /v1/networks":                        {reader, ""},
	"GET /v1/networks/{id}":                   {reader, ""},
	"GET /v1/networks/{id}/ports":             {reader, ""},
	"POST /v1/networks/{id}/gre":              {admin, ""},
	"POST /v1/networks/{id}/gre/remove":       {admin, ""},
	"POST /v1/networks/{id}/uplink":           {admin, ""},
	"DELETE /v1/networks/{id}/uplink":         {admin, ""},
	"GET /v1/subnets":                         {reader, ""},
	"GET /v1/subnets/{id}":                    {reader, ""},
	"GET /v1/ports":                           {reader, ""},
	"GET /v1/ports/{id}":                      {reader, ""},

	"GET /v1/fleets":                                {reader, ""},
	"POST /v1/fleets":                               {member, ""},
	"GET /v1/fleets/{fleet}":                        {reader, ""},
	"PATCH /v1/fleets/{fleet}":                      {member, ""},
	"DELETE /v1/fleets/{fleet}":                     {member, ""},
	"GET /v1/fleets/{fleet}/tokens":                 {reader, ""},
	"POST /v1/fleets/{fleet}/tokens":                {member, ""},
	"DELETE /v1/fleets/{fleet}/tokens/{fleettoken}": {member, ""},
	"POST /v1/fleets/{fleet}/rollouts":              {member, ""},
	"GET /v1/rollouts":                              {reader, ""},
	"GET /v1/rollouts/{rollout}":                    {reader, ""},
	"POST /v1/rollouts/{rollout}/resume":            {member, ""},
	"POST /v1/rollouts/{rollout}/abort":             {member, ""},

	"GET /v1/offers":                 {reader, ""},
	"POST /v1/offers":                {manager, ""},
	"GET /v1/offers/{offer}":         {reader, ""},
	"DELETE /v1/offers/{offer}":      {manager, ""},
	"GET /v1/leases":                 {reader, ""},
	"GET /v1/bookings":               {reader, ""},
	"POST /v1/calendars":             {member, ""},
	"POST /v1/leases":                {member, ""},
	"GET /v1/leases/{lease}":         {reader, ""},
	"PATCH /v1/leases/{lease}":       {member, ""},
	"DELETE /v1/leases/{lease}":      {member, ""},
	"POST /v1/leases/{lease}/shares": {member, ""},

	"GET /v1/operations":              {reader, ""},
	"GET /v1/operations/{id}":         {reader, ""},
	"POST /v1/operations/{id}/cancel": {member, ""},

	"GET /v1/recordings":                {manager, ""},
	"GET /v1/recordings/{recording}":    {manager, ""},
	"DELETE /v1/recordings/{recording}": {manager, ""},

	"GET /v1/projects":              {reader, ""},
	"POST /v1/projects":             {admin, ""},
	"GET /v1/projects/{project}":    {reader, ""},
	"PATCH /v1/projects/{project}":  {manager, ""}, // a quota: admin
	"DELETE /v1/projects/{project}": {admin, ""},
	"GET /v1/users":                 {reader, ""}, // others than oneself: manager
	"POST /v1/users":                {manager, ""},
	"GET /v1/users/{user}":          {reader, ""}, // the same
	"DELETE /v1/users/{user}":       {manager, ""},
	"PUT /v1/users/{user}/password": {reader, ""}, // the same
	"GET /v1/tokens":                {reader, ""}, // one's own; of the project: manager
	"POST /v1/tokens":               {reader, ""},
	"GET /v1/tokens/{token}":        {reader, ""},
	"DELETE /v1/tokens/{token}":     {reader, ""},

	"GET /v1/session":       {reader, ""},
	"DELETE /v1/session":    {reader, ""},
	"POST /v1/session/code": {reader, ""},
}

// documentNeeds writes it into the document: x-s4t-role and x-s4t-lease of each operation.
func documentNeeds(doc *huma.OpenAPI) {
	for path, item := range doc.Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PATCH": item.Patch, "DELETE": item.Delete, "PUT": item.Put} {
			if op == nil || len(op.Security) == 0 {
				continue
			}
			n := RouteNeeds[method+" "+path]
			op.Extensions = map[string]any{"x-s4t-role": n.Role}
			says := "Needs the role " + string(n.Role) + "."
			if n.Lease != "" {
				op.Extensions["x-s4t-lease"] = n.Lease
				says += " By a lease of the board that allows " + string(n.Lease) + ", too."
				if n.Lease == AnyAction {
					says = strings.Replace(says, "that allows any", "of any action", 1)
				}
			}
			op.Description = strings.TrimSpace(op.Description + " " + says)
		}
	}
}
