"""The Promotions page: requests, the record, the timeline, policies. Registry shows the first two of a version too."""
