"""What only scripts written for Matterport's package use."""
