package main

import (
	"context"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// allInstances gathers all pages.
func allInstances(ctx context.Context, api signalboxv1.InstanceServiceClient) (*signalboxv1.ListInstancesResponse, error) {
	all := new(signalboxv1.ListInstancesResponse)
	return all, pages(func(token string) (string, error) {
		page, err := api.ListInstances(ctx, &signalboxv1.ListInstancesRequest{PageSize: pageSize, PageToken: token})
		all.Instances, all.Version = append(all.Instances, page.GetInstances()...), page.GetVersion()
		return page.GetNextPageToken(), err
	})
}
