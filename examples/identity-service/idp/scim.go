package idp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// The URNs of RFC 7643 §8.7 and RFC 7644 §3.5.2 that this dialect sends.
const (
	UserURN  = "urn:ietf:params:scim:schemas:core:2.0:User"
	GroupURN = "urn:ietf:params:scim:schemas:core:2.0:Group"
	PatchURN = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
)

// User is a user in the form that the client pushes. The application chooses ID.
type User struct {
	ID          string `json:"id"`
	UserName    string `json:"user_name"`   // required
	ExternalID  string `json:"external_id"` // the enterprise's own identifier (IL1 §3.2.3)
	DisplayName string `json:"display_name"`
	GivenName   string `json:"given_name"`
	FamilyName  string `json:"family_name"`
	Email       string `json:"email"`  // the primary address (IL1 §3.2.3)
	Active      bool   `json:"active"` // CreateUser always sends true
}

type wireUser struct {
	Schemas     []string    `json:"schemas"`
	ID          string      `json:"id,omitempty"`
	UserName    string      `json:"userName"`
	ExternalID  string      `json:"externalId,omitempty"`
	DisplayName string      `json:"displayName,omitempty"`
	Name        wireName    `json:"name,omitzero"`
	Emails      []wireEmail `json:"emails,omitempty"`
	Active      bool        `json:"active"`
}

type wireName struct {
	GivenName  string `json:"givenName,omitempty"`
	FamilyName string `json:"familyName,omitempty"`
}

type wireEmail struct {
	Value   string `json:"value"`
	Type    string `json:"type,omitempty"`
	Primary bool   `json:"primary,omitempty"`
}

// Group is a group (IPSIE: role) in the form that the client pushes. The application chooses ID.
type Group struct {
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	ExternalID  string `json:"external_id"`
}

type wireGroup struct {
	Schemas     []string `json:"schemas"`
	ID          string   `json:"id,omitempty"`
	DisplayName string   `json:"displayName"`
	ExternalID  string   `json:"externalId,omitempty"`
}

// Op is one operation of a PATCH (RFC 7644 §3.5.2). Value nil leaves "value" out.
type Op struct {
	Op    string `json:"op"` // add | remove | replace
	Path  string `json:"path,omitempty"`
	Value any    `json:"value,omitempty"`
}

func (u User) wire() wireUser {
	w := wireUser{
		Schemas:     []string{UserURN},
		UserName:    u.UserName,
		ExternalID:  u.ExternalID,
		DisplayName: u.DisplayName,
		Name:        wireName{u.GivenName, u.FamilyName},
		Active:      true,
	}
	if u.Email != "" {
		w.Emails = []wireEmail{{Value: u.Email, Type: "work", Primary: true}}
	}
	return w
}

func (w wireUser) user() User {
	u := User{
		ID:          w.ID,
		UserName:    w.UserName,
		ExternalID:  w.ExternalID,
		DisplayName: w.DisplayName,
		GivenName:   w.Name.GivenName,
		FamilyName:  w.Name.FamilyName,
		Active:      w.Active,
	}
	for i, e := range w.Emails {
		if i == 0 || e.Primary {
			u.Email = e.Value
		}
	}
	return u
}

// CreateUser creates a user (IL1 §3.2.3). It returns the user as the application stored it.
func (c *Client) CreateUser(ctx context.Context, u User) (User, error) {
	var out wireUser
	if err := c.call(ctx, http.MethodPost, "/Users", u.wire(), &out, http.StatusCreated); err != nil {
		return User{}, fmt.Errorf("creating user %s: %w", u.ExternalID, err)
	}
	return out.user(), nil
}

// GetUser reads a user (IL1 §3.2.7).
func (c *Client) GetUser(ctx context.Context, id string) (User, error) {
	var out wireUser
	if err := c.call(ctx, http.MethodGet, "/Users/"+url.PathEscape(id), nil, &out, http.StatusOK); err != nil {
		return User{}, fmt.Errorf("reading user %s: %w", id, err)
	}
	return out.user(), nil
}

// PatchUser changes a user (IL1 §3.2.4).
func (c *Client) PatchUser(ctx context.Context, id string, ops ...Op) error {
	return c.patch(ctx, "/Users/", id, ops...)
}

func (c *Client) patch(ctx context.Context, collection, id string, ops ...Op) error {
	body := struct {
		Schemas    []string `json:"schemas"`
		Operations []Op
	}{[]string{PatchURN}, ops}
	path := collection + url.PathEscape(id)
	if err := c.call(ctx, http.MethodPatch, path, body, nil, http.StatusOK, http.StatusNoContent); err != nil {
		return fmt.Errorf("changing %s: %w", path, err)
	}
	return nil
}

// Deactivate deactivates a user (IL1 §3.2.5). A nil error means that the application has accepted
// the change. The revocation of the credentials may take longer.
func (c *Client) Deactivate(ctx context.Context, id string) error {
	return c.PatchUser(ctx, id, Op{Op: "replace", Path: "active", Value: false})
}

// Reactivate reactivates a user (IL1 §3.2.5).
func (c *Client) Reactivate(ctx context.Context, id string) error {
	return c.PatchUser(ctx, id, Op{Op: "replace", Path: "active", Value: true})
}

// DeleteUser deletes a user (IL1 §3.2.6).
func (c *Client) DeleteUser(ctx context.Context, id string) error {
	if err := c.call(ctx, http.MethodDelete, "/Users/"+url.PathEscape(id), nil, nil, http.StatusNoContent); err != nil {
		return fmt.Errorf("deleting user %s: %w", id, err)
	}
	return nil
}

// FindUser finds a user by "userName", "externalId" or "emails" (IL1 §3.2.8). ok is false if no
// user matches. Several matches are an error.
func (c *Client) FindUser(ctx context.Context, attribute, value string) (u User, ok bool, err error) {
	var out struct {
		Total     int        `json:"totalResults"`
		Resources []wireUser `json:"Resources"`
	}
	f, err := filter(attribute, value)
	if err != nil {
		return User{}, false, err
	}
	if err := c.call(ctx, http.MethodGet, "/Users?filter="+url.QueryEscape(f), nil, &out, http.StatusOK); err != nil {
		return User{}, false, fmt.Errorf("finding a user by %s: %w", attribute, err)
	}
	switch {
	case out.Total == 0:
		return User{}, false, nil
	case out.Total == 1 && len(out.Resources) == 1:
		return out.Resources[0].user(), true, nil
	}
	return User{}, false, fmt.Errorf("finding a user by %s: %d match", attribute, out.Total)
}

func filter(attribute, value string) (string, error) {
	switch attribute {
	case "userName", "externalId":
		return attribute + " eq " + quote(value), nil
	case "emails":
		return "emails[value eq " + quote(value) + "]", nil
	default:
		return "", fmt.Errorf("attribute %q is not one of userName, externalId, emails", attribute)
	}
}

// quote quotes a value of a filter as a JSON string (RFC 7644 §3.4.2.2).
func quote(value string) string {
	b, _ := json.Marshal(value) // a string can be encoded
	return string(b)
}

// CreateGroup makes a group without members.
func (c *Client) CreateGroup(ctx context.Context, g Group) (Group, error) {
	w := wireGroup{Schemas: []string{GroupURN}, DisplayName: g.DisplayName, ExternalID: g.ExternalID}
	var out wireGroup
	if err := c.call(ctx, http.MethodPost, "/Groups", w, &out, http.StatusCreated); err != nil {
		return Group{}, fmt.Errorf("creating group %s: %w", g.DisplayName, err)
	}
	return Group{ID: out.ID, DisplayName: out.DisplayName, ExternalID: out.ExternalID}, nil
}

// AddMembers adds users to a group in the only form that IL1 §3.3.3 allows.
func (c *Client) AddMembers(ctx context.Context, groupID string, userIDs ...string) error {
	members := make([]map[string]string, 0, len(userIDs))
	for _, id := range userIDs {
		members = append(members, map[string]string{"value": id})
	}
	return c.patch(ctx, "/Groups/", groupID, Op{Op: "add", Path: "members", Value: members})
}

// RemoveMember removes one user from a group (IL1 §3.3.3).
func (c *Client) RemoveMember(ctx context.Context, groupID, userID string) error {
	return c.patch(ctx, "/Groups/", groupID, Op{Op: "remove", Path: "members[value eq " + quote(userID) + "]"})
}

// RemoveAllMembers empties a group (IL1 §3.3.3).
func (c *Client) RemoveAllMembers(ctx context.Context, groupID string) error {
	return c.patch(ctx, "/Groups/", groupID, Op{Op: "remove", Path: "members"})
}
