package policies

import "github.com/open-policy-agent/opa/v1/ast"

// member is the name of a member of the input document whose place in it is fixed.
type member uint8

// The members of schemas/policy-input.v1.json.
const (
	mVersion member = iota
	mProfile
	mTenant
	mClient
	mID
	mIssuer
	mScopes
	mModes
	mMethod
	mRoute
	mResourceType
	mResourceID
	mResource
	mStored
	mResult
	mRaw
	mCanonical
	mOp
	mPath
	mHasPath
	mValue
	mHasValue
	mTarget
	mDeviations
	mCode
	mQuery
	mFilter
	mFilterShape
	mAttributes
	mExcluded
	mReceived
	mGroups
	mGroupsComplete
	mDisplayName
	mMemberCount
	mCounts
	mUsers
	mCreates
	mDeactivations
	mDeletions
	mGroupChanges
	mComplete
	mMinute
	mTenMinutes
	mHour
	numMembers
)

func memberNames() [numMembers]string {
	return [...]string{
		mVersion: "version", mProfile: "profile", mTenant: "tenant",
		mClient: "client", mID: "id", mIssuer: "issuer", mScopes: "scopes",
		mModes: "modes", mMethod: "method", mRoute: "route",
		mResourceType: "resource_type", mResourceID: "resource_id",
		mResource: "resource", mStored: "stored", mResult: "result",
		mRaw: "raw", mCanonical: "canonical",
		mOp: "op", mPath: "path", mHasPath: "has_path", mValue: "value", mHasValue: "has_value", mTarget: "target",
		mDeviations: "deviations", mCode: "code",
		mQuery: "query", mFilter: "filter", mFilterShape: "filter_shape", mAttributes: "attributes", mExcluded: "excluded",
		mReceived: "received",
		mGroups:   "groups", mGroupsComplete: "groups_complete", mDisplayName: "displayName",
		mMemberCount: "member_count",
		mCounts:      "counts", mUsers: "users", mCreates: "creates", mDeactivations: "deactivations",
		mDeletions: "deletions", mGroupChanges: "group_changes", mComplete: "complete",
		mMinute: "1m", mTenMinutes: "10m", mHour: "60m",
	}
}

// memberTerms are the names as terms. All decisions share them: terms do not change.
type memberTerms [numMembers]*ast.Term

func newMemberTerms() *memberTerms {
	var out memberTerms
	for m, name := range memberNames() {
		out[m] = ast.InternedTerm(name)
	}
	return &out
}
