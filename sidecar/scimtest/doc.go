// Package scimtest plays against a SCIM service what an identity provider sends to it, and judges every
// answer. It knows the service only by its base URL and a token, so it works against any SCIM 2.0 service.
//
// A [Sequence] is data: the files in sequences/, one for each provider and each way in which it sends. They
// are written from what the providers are seen to send, and hold no recorded traffic.
//
//	s, err := scimtest.Find("entra")
//	report, err := scimtest.Play(ctx, s, scimtest.Options{URL: "https://app.example.com/scim/v2", Token: token})
//
// Each step ends as one of four outcomes. [OK]: the service did what the step asked for. [Refused]: it
// refused, the sequence says that a stricter profile may refuse this step, and the message names the setting
// to change. [Wrong]: anything else. [Skipped]: an earlier step did not provide what this one needs.
//
// Play creates users and groups with names of its own and deletes what it created. It does not touch others,
// but it refuses to run in a tenant that has users, unless the caller says that it is a scratch tenant.
package scimtest
