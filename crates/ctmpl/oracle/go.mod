module holdfast/oracle

go 1.26
