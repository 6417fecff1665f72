-- Applications of a branch are counted for every application that comes from one.
create index applications_branch on applications (branch, received_at) where branch is not null;
