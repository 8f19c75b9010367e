#Requires -Version 5.1
<#
.SYNOPSIS
Archives, quarantines or deletes files on a share that a policy has found, and brings them back.

.DESCRIPTION
A dry run unless -Execute is given: it shows what would become of each file, and touches none.

The rules are those of `lakeflow-job-meta policy remediate`:
- of the files with one content one stays, the keeper, and nothing goes while it is not there;
- every file is hashed before it goes, and again, locked against writers, at the moment it is deleted;
- it is copied to <ArchiveRoot>\<run>\<first two of the hash>\<hash> first, the copy is flushed and hashed; nothing is
  ever overwritten;
- a line with its path, hash, times and access rights is in <ArchiveRoot>\<run>\manifest.jsonl before it is deleted;
- a stub is left only after that, under a name of its own (report.docx.archived.txt);
- files on legal hold, empty files, folders, links and stubs are left alone;
- the exit code is 1 when anything failed or was refused.

.PARAMETER CsvPath
CSV with the columns path and content_sha256; size, legal_hold, labels, state and reason are understood.

.PARAMETER ArchiveRoot
Folder that the files go to. It must not be inside a folder that files are taken from.

.PARAMETER ShareRoot
Only files below these folders are touched. Default: every path of the CSV.

.PARAMETER Keeper
Oldest, Newest, ShortestPath, PreferredRoot (with -PreferredRoot, then the oldest), or None: every file goes.

.PARAMETER UndoRun
Bring back what this run took away.

.EXAMPLE
.\remediate.ps1 -CsvPath .\plan.csv -ArchiveRoot \\server\archive -ShareRoot \\server\share

.EXAMPLE
.\remediate.ps1 -CsvPath .\plan.csv -ArchiveRoot \\server\archive -ShareRoot \\server\share -Execute

.EXAMPLE
.\remediate.ps1 -ArchiveRoot \\server\archive -UndoRun 20260131-235959-1a2b3c4d
#>
[CmdletBinding(DefaultParameterSetName = 'Plan')]
param(
    [Parameter(Mandatory = $true, ParameterSetName = 'Plan')]
    [string] $CsvPath,

    [Parameter(Mandatory = $true)]
    [string] $ArchiveRoot,

    [Parameter(ParameterSetName = 'Plan')]
    [string[]] $ShareRoot = @(),

    [Parameter(ParameterSetName = 'Plan')]
    [ValidateSet('Archive', 'Quarantine', 'Delete')]
    [string] $Action = 'Archive',

    [Parameter(ParameterSetName = 'Plan')]
    [ValidateSet('Oldest', 'Newest', 'ShortestPath', 'PreferredRoot', 'None')]
    [string] $Keeper = 'Oldest',

    [Parameter(ParameterSetName = 'Plan')]
    [string[]] $PreferredRoot = @(),

    [Parameter(ParameterSetName = 'Plan')]
    [string[]] $HoldLabel = @('legal hold', 'litigation hold', 'preservation hold'),

    [Parameter(ParameterSetName = 'Plan')]
    [ValidateScript({ $_ -ge 1 })]
    [long] $MinSize = 1,

    [Parameter(ParameterSetName = 'Plan')]
    [string] $StubMessage = 'This file was removed due to the records and retention policy.',

    [Parameter(ParameterSetName = 'Plan')]
    [switch] $NoStub,

    [Parameter(ParameterSetName = 'Plan')]
    [switch] $Execute,

    [Parameter(Mandatory = $true, ParameterSetName = 'Undo')]
    [ValidatePattern('^[0-9]{8}-[0-9]{6}-[0-9a-f]{8}$')]
    [string] $UndoRun
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$StubEnds = @{ Archive = '.archived.txt'; Quarantine = '.quarantined.txt'; Delete = '.deleted.txt' }
$Utf8 = New-Object System.Text.UTF8Encoding($false)

# ---------------------------------------------------------------- paths

function Get-Separated([string] $Folder) {
    return $Folder.TrimEnd('\', '/') + [System.IO.Path]::DirectorySeparatorChar
}

function Test-Inside([string] $Path, [string] $Folder) {
    return $Path.StartsWith((Get-Separated $Folder), [System.StringComparison]::OrdinalIgnoreCase)
}

function Test-PlainPath([string] $Path) {
    # Rooted, and the same when it is resolved: no . or .. and no drive-relative path.
    if (-not [System.IO.Path]::IsPathRooted($Path)) { return $false }
    try {
        $full = [System.IO.Path]::GetFullPath($Path)
    }
    catch {
        return $false
    }
    $given = $Path.Replace('/', [string][System.IO.Path]::DirectorySeparatorChar)
    return [string]::Equals($full, $given, [System.StringComparison]::OrdinalIgnoreCase)
}

function Test-Link([string] $Path) {
    # A link or a junction, at the path itself or above it.
    $current = $Path
    while ($current) {
        if ([System.IO.File]::Exists($current) -or [System.IO.Directory]::Exists($current)) {
            $attributes = [System.IO.File]::GetAttributes($current)
            if ($attributes -band [System.IO.FileAttributes]::ReparsePoint) { return $true }
        }
        $current = [System.IO.Path]::GetDirectoryName($current)
    }
    return $false
}

# ---------------------------------------------------------------- contents

function Get-StreamSha256([System.IO.Stream] $Stream) {
    $algorithm = [System.Security.Cryptography.SHA256]::Create()
    try {
        return -join ($algorithm.ComputeHash($Stream) | ForEach-Object { $_.ToString('x2') })
    }
    finally {
        $algorithm.Dispose()
    }
}

function Get-Sha256([string] $Path) {
    $stream = [System.IO.File]::Open(
        $Path, [System.IO.FileMode]::Open, [System.IO.FileAccess]::Read, [System.IO.FileShare]::Read)
    try {
        return Get-StreamSha256 $stream
    }
    finally {
        $stream.Dispose()
    }
}

function Copy-Verified([string] $Source, [string] $Target, [string] $Sha256) {
    # The target appears whole, with just this content, and is never overwritten.
    if ([System.IO.File]::Exists($Target)) {
        if ((Get-Sha256 $Target) -ne $Sha256) { throw "$Target is there already, with another content" }
        if ((Get-Sha256 $Source) -ne $Sha256) { throw "its content changed since it was scanned" }
        return
    }
    $folder = [System.IO.Path]::GetDirectoryName($Target)
    [void][System.IO.Directory]::CreateDirectory($folder)
    $partial = [System.IO.Path]::Combine($folder, '.' + [guid]::NewGuid().ToString('N') + '.new')
    try {
        $reader = [System.IO.File]::Open(
            $Source, [System.IO.FileMode]::Open, [System.IO.FileAccess]::Read, [System.IO.FileShare]::Read)
        try {
            $writer = [System.IO.File]::Open(
                $partial, [System.IO.FileMode]::CreateNew, [System.IO.FileAccess]::Write, [System.IO.FileShare]::None)
            try {
                $reader.CopyTo($writer)
                $writer.Flush($true)
            }
            finally {
                $writer.Dispose()
            }
        }
        finally {
            $reader.Dispose()
        }
        if ((Get-Sha256 $partial) -ne $Sha256) { throw "its content changed since it was scanned" }
        [System.IO.File]::Move($partial, $Target)
    }
    finally {
        if ([System.IO.File]::Exists($partial)) { [System.IO.File]::Delete($partial) }
    }
}

function Remove-Verified([string] $Path, [string] $Sha256) {
    # Open without letting anyone write, hashed once more, and deleted while it is open.
    $handle = [System.IO.File]::Open(
        $Path, [System.IO.FileMode]::Open, [System.IO.FileAccess]::Read, [System.IO.FileShare]::Delete)
    try {
        if ((Get-StreamSha256 $handle) -ne $Sha256) { throw "it changed since it was copied" }
        [System.IO.File]::Delete($Path)
    }
    finally {
        $handle.Dispose()
    }
}

function Add-Line([string] $Path, [hashtable] $Line) {
    # One line of JSON, on disk when this returns.
    $stream = [System.IO.File]::Open(
        $Path, [System.IO.FileMode]::Append, [System.IO.FileAccess]::Write, [System.IO.FileShare]::Read)
    try {
        $bytes = $Utf8.GetBytes((ConvertTo-Json -InputObject $Line -Compress) + "`n")
        $stream.Write($bytes, 0, $bytes.Length)
        $stream.Flush($true)
    }
    finally {
        $stream.Dispose()
    }
}

function Read-Manifest([string] $Path) {
    # Its lines as objects. The last line of a run that died may be torn: nothing was deleted after it.
    if (-not [System.IO.File]::Exists($Path)) { return }
    foreach ($line in [System.IO.File]::ReadAllLines($Path, $Utf8)) {
        if (-not $line.Trim()) { continue }
        try {
            $parsed = ConvertFrom-Json -InputObject $line
        }
        catch {
            continue
        }
        $parsed
    }
}

function New-TextFile([string] $Path, [string] $Text) {
    # Never overwrites.
    $stream = [System.IO.File]::Open(
        $Path, [System.IO.FileMode]::CreateNew, [System.IO.FileAccess]::Write, [System.IO.FileShare]::None)
    try {
        $bytes = $Utf8.GetBytes($Text)
        $stream.Write($bytes, 0, $bytes.Length)
        $stream.Flush($true)
    }
    finally {
        $stream.Dispose()
    }
}

function Get-Security([string] $Path) {
    # Owner and access rights; none where there are none to be had.
    if ($env:OS -ne 'Windows_NT') { return '' }
    try {
        return (Get-Acl -LiteralPath $Path).Sddl
    }
    catch {
        return ''
    }
}

# ---------------------------------------------------------------- the plan

function Get-Cell([object] $Row, [string] $Name) {
    $property = $Row.PSObject.Properties[$Name]
    if ($null -eq $property -or $null -eq $property.Value) { return '' }
    return ([string]$property.Value).Trim()
}

function Get-PlainLabel([string] $Text) {
    return ' ' + ([regex]::Replace($Text.ToLowerInvariant(), '[\W_]+', ' ')).Trim() + ' '
}

function Test-Hold([object] $Row) {
    $flag = (Get-Cell $Row 'legal_hold').ToLowerInvariant()
    if ($flag -and @('false', '0', 'no', 'n', 'none', 'null', 'off') -notcontains $flag) { return $true }
    if ((Get-Cell $Row 'state') -eq 'held') { return $true }
    $labels = Get-PlainLabel ((Get-Cell $Row 'labels') + ' ' + (Get-Cell $Row 'label_names'))
    foreach ($hold in $HoldLabel) {
        if ($hold.Trim() -and $labels.Contains((Get-PlainLabel $hold))) { return $true }
    }
    return $false
}

function Get-KnownStub {
    # Stubs that earlier runs have left.
    $found = New-Object 'System.Collections.Generic.HashSet[string]' ([System.StringComparer]::OrdinalIgnoreCase)
    if ([System.IO.Directory]::Exists($ArchiveRoot)) {
        foreach ($folder in [System.IO.Directory]::GetDirectories($ArchiveRoot)) {
            foreach ($line in @(Read-Manifest ([System.IO.Path]::Combine($folder, 'manifest.jsonl')))) {
                if ($line.stub) { [void]$found.Add([string]$line.stub) }
            }
        }
    }
    return , $found
}

function Get-Planned([object] $Row, [object] $Stubs) {
    # What is known of one row: state is planned, held, skipped or refused.
    $item = [pscustomobject]@{
        State = 'planned'; Reason = ''; Path = Get-Cell $Row 'path'; Sha256 = (Get-Cell $Row 'content_sha256').ToLowerInvariant()
        Keeper = ''; Length = [long]0; Time = [datetime]::MinValue
    }
    $size = Get-Cell $Row 'size'
    if (-not $item.Path) { $item.State = 'refused'; $item.Reason = 'the row has no path'; return $item }
    if ((Get-Cell $Row 'state') -eq 'refused') {
        $item.State = 'refused'; $item.Reason = Get-Cell $Row 'reason'; return $item
    }
    if (-not (Test-PlainPath $item.Path)) {
        $item.State = 'refused'; $item.Reason = 'its path is not absolute, or has . or .. in it'; return $item
    }
    $item.Path = [System.IO.Path]::GetFullPath($item.Path)
    if ($item.Sha256 -and $item.Sha256 -notmatch '^[0-9a-f]{64}$') {
        $item.Sha256 = ''; $item.State = 'refused'; $item.Reason = 'its content hash is no SHA-256'; return $item
    }
    if ($ShareRoot.Count -and -not @($ShareRoot | Where-Object { Test-Inside $item.Path $_ }).Count) {
        $item.State = 'skipped'; $item.Reason = 'outside of ShareRoot'; return $item
    }
    if (Test-Inside $item.Path $ArchiveRoot) {
        $item.State = 'skipped'; $item.Reason = 'it lies in the archive'; return $item
    }
    if ([System.IO.Directory]::Exists($item.Path)) {
        $item.State = 'refused'; $item.Reason = 'it is a folder'; return $item
    }
    if (-not [System.IO.File]::Exists($item.Path)) {
        $item.State = 'skipped'; $item.Reason = 'it is not there (any more)'; return $item
    }
    if (Test-Link $item.Path) {
        $item.State = 'refused'; $item.Reason = 'it is a link, or reached through one'; return $item
    }
    if ($Stubs.Contains($item.Path)) {
        $item.State = 'skipped'; $item.Reason = 'it is the stub of an earlier run'; return $item
    }
    $file = New-Object System.IO.FileInfo($item.Path)
    $item.Length = $file.Length
    $item.Time = $file.LastWriteTimeUtc
    if ($size -and $size -ne [string]$item.Length) {
        $item.Sha256 = ''; $item.State = 'skipped'; $item.Reason = 'it changed since it was scanned'; return $item
    }
    if (Test-Hold $Row) { $item.State = 'held'; $item.Reason = 'legal hold' }
    elseif ($item.Length -lt $MinSize) { $item.State = 'skipped'; $item.Reason = 'it is empty or too small' }
    if (-not $item.Sha256 -and $item.Length) {
        try {
            $item.Sha256 = Get-Sha256 $item.Path
        }
        catch {
            $item.State = 'refused'; $item.Reason = $_.Exception.Message
        }
    }
    return $item
}

function Get-PreferredRank([string] $Path) {
    for ($rank = 0; $rank -lt $PreferredRoot.Count; $rank++) {
        if (Test-Inside $Path $PreferredRoot[$rank]) { return $rank }
    }
    return $PreferredRoot.Count
}

function Select-Keeper([object[]] $Group) {
    # The same one every time: ties end in the path.
    $time = @{ Expression = { $_.Time } }
    $latest = @{ Expression = { $_.Time }; Descending = $true }
    $length = @{ Expression = { $_.Path.Length } }
    $path = @{ Expression = { $_.Path } }
    $rank = @{ Expression = { Get-PreferredRank $_.Path } }
    switch ($Keeper) {
        'Newest' { $order = @($latest, $length, $path) }
        'ShortestPath' { $order = @($length, $path) }
        'PreferredRoot' { $order = @($rank, $time, $length, $path) }
        default { $order = @($time, $length, $path) }
    }
    return @($Group | Sort-Object -Property $order)[0]
}

function Get-Plan {
    $stubs = Get-KnownStub
    $seen = @{}
    $items = @()
    foreach ($row in @(Import-Csv -LiteralPath $CsvPath)) {
        $item = Get-Planned $row $stubs
        if (-not $item.Path) { $items += $item; continue }
        $key = $item.Path.ToLowerInvariant()
        if ($seen.ContainsKey($key)) {
            $before = $seen[$key]
            if ($before.Sha256 -ne $item.Sha256) {
                $before.State = 'refused'; $before.Reason = 'two rows name it with different content hashes'
            }
            elseif ($item.State -eq 'held') { $before.State = 'held'; $before.Reason = $item.Reason }
            continue
        }
        $seen[$key] = $item
        $items += $item
    }
    foreach ($item in $items) {
        if ($item.State -eq 'planned' -and (Test-Inside $ArchiveRoot ([System.IO.Path]::GetDirectoryName($item.Path)))) {
            throw "ArchiveRoot is inside $([System.IO.Path]::GetDirectoryName($item.Path)), where files are taken from: name a folder outside of it"
        }
    }
    if ($Keeper -ne 'None') {
        $staying = @($items | Where-Object {
                $_.Sha256 -and $_.Length -and (@('planned', 'held') -contains $_.State) })
        foreach ($group in @($staying | Group-Object -Property Sha256)) {
            $kept = Select-Keeper @($group.Group)
            foreach ($item in @($group.Group)) {
                if ($item.Path -eq $kept.Path) {
                    if ($item.State -eq 'planned') { $item.State = 'keeper' }
                }
                else {
                    $item.Keeper = $kept.Path
                }
            }
        }
    }
    return $items
}

# ---------------------------------------------------------------- executing

function Get-Target([string] $Run, [string] $Sha256) {
    return [System.IO.Path]::Combine($ArchiveRoot, $Run, $Sha256.Substring(0, 2), $Sha256)
}

function Get-StubText([object] $Item, [string] $Target, [string] $Run) {
    $lines = @(
        $StubMessage, '', "File: $($Item.Path)", "Action: $Action", "Content SHA-256: $($Item.Sha256)",
        "Size: $($Item.Length) bytes", "Stored at: $Target", "Kept copy: $($Item.Keeper)", "Run: $Run", '')
    return $lines -join "`r`n"
}

function Invoke-Remediation([object] $Item, [string] $Run, [string] $Manifest) {
    # The keeper, a verified copy, a line on disk; only then is the file deleted, and only then is there a stub.
    $kept = $null
    try {
        if ($Item.Keeper) {
            # Open until the file is gone: nobody can change the keeper, and under a second name it cannot be deleted.
            $kept = [System.IO.File]::Open(
                $Item.Keeper, [System.IO.FileMode]::Open, [System.IO.FileAccess]::Read, [System.IO.FileShare]::Read)
            if ((Get-StreamSha256 $kept) -ne $Item.Sha256) { throw "its keeper $($Item.Keeper) changed: scan again" }
        }
        Move-Verified $Item $Run $Manifest
    }
    finally {
        if ($kept) { $kept.Dispose() }
    }
}

function Move-Verified([object] $Item, [string] $Run, [string] $Manifest) {
    $target = Get-Target $Run $Item.Sha256
    $file = New-Object System.IO.FileInfo($Item.Path)
    Copy-Verified $Item.Path $target $Item.Sha256
    $stub = ''
    $text = ''
    if (-not $NoStub -and $Action -ne 'Delete') {
        $stub = $Item.Path + $StubEnds[$Action]
        $text = Get-StubText $Item $target $Run
    }
    Add-Line $Manifest @{
        step = 'ready'; path = $Item.Path; content_sha256 = $Item.Sha256; size = $Item.Length; target = $target
        keeper = $Item.Keeper; action = $Action; stub = $stub; stub_text = $text; security = (Get-Security $Item.Path)
        created = $file.CreationTimeUtc.Ticks; modified = $file.LastWriteTimeUtc.Ticks; at = [datetime]::UtcNow.ToString('o')
    }
    Remove-Verified $Item.Path $Item.Sha256
    Add-Line $Manifest @{ step = 'done'; path = $Item.Path; stub = $stub; at = [datetime]::UtcNow.ToString('o') }
    if ($stub) {
        try {
            New-TextFile $stub $text
        }
        catch {
            Write-Warning "no stub for $($Item.Path): $($_.Exception.Message)"
        }
    }
}

function Invoke-Plan([object[]] $Items, [string] $Run) {
    $folder = [System.IO.Path]::Combine($ArchiveRoot, $Run)
    [void][System.IO.Directory]::CreateDirectory($folder)
    $manifest = [System.IO.Path]::Combine($folder, 'manifest.jsonl')
    foreach ($item in $Items) {
        if ($item.State -ne 'planned') { continue }
        try {
            Invoke-Remediation $item $Run $manifest
            $item.State = 'done'
        }
        catch {
            # This file is as it was, or its copy is in the archive; the others go on.
            $item.State = 'failed'
            $item.Reason = $_.Exception.Message
        }
    }
}

# ---------------------------------------------------------------- undo

function Restore-Item([object] $Line) {
    if ([System.IO.File]::Exists($Line.path)) {
        if ((Get-Sha256 $Line.path) -ne $Line.content_sha256) {
            throw "another file is there now; the one that was there is at $($Line.target)"
        }
    }
    else {
        Copy-Verified $Line.target $Line.path $Line.content_sha256
        [System.IO.File]::SetCreationTimeUtc($Line.path, [datetime]::new([long]$Line.created, [System.DateTimeKind]::Utc))
        [System.IO.File]::SetLastWriteTimeUtc($Line.path, [datetime]::new([long]$Line.modified, [System.DateTimeKind]::Utc))
        if ($Line.security -and $env:OS -eq 'Windows_NT') {
            $rights = Get-Acl -LiteralPath $Line.path
            $rights.SetSecurityDescriptorSddlForm($Line.security)
            Set-Acl -LiteralPath $Line.path -AclObject $rights
        }
    }
    if ($Line.stub -and [System.IO.File]::Exists($Line.stub)) {
        if ([System.IO.File]::ReadAllText($Line.stub, $Utf8) -ceq $Line.stub_text) {
            [System.IO.File]::Delete($Line.stub)
        }
        else {
            Write-Warning "$($Line.stub) was changed and stays"
        }
    }
}

function Invoke-Undo([string] $Run) {
    $folder = [System.IO.Path]::Combine($ArchiveRoot, $Run)
    $manifest = [System.IO.Path]::Combine($folder, 'manifest.jsonl')
    if (-not [System.IO.File]::Exists($manifest)) { throw "there is no $manifest`: correct -UndoRun or -ArchiveRoot" }
    $lines = @(Read-Manifest $manifest | Where-Object { $_.step -eq 'ready' })
    $needed = @{}
    $failed = 0
    foreach ($line in $lines) {
        try {
            Restore-Item $line
            Add-Line $manifest @{ step = 'undone'; path = $line.path; stub = ''; at = [datetime]::UtcNow.ToString('o') }
        }
        catch {
            $failed++
            $needed[[string]$line.target] = $true
            Write-Warning "$($line.path): $($_.Exception.Message)"
        }
    }
    foreach ($line in $lines) {
        # What is archived goes when every file that it stands for is back.
        if (-not $needed.ContainsKey([string]$line.target) -and [System.IO.File]::Exists($line.target)) {
            if ([System.IO.File]::Exists($line.path)) { Remove-Verified $line.target $line.content_sha256 }
        }
    }
    Write-Output "run $Run`: $($lines.Count - $failed) brought back, errors $failed"
    return $failed
}

# ---------------------------------------------------------------- main

if (-not (Test-PlainPath $ArchiveRoot.TrimEnd('\', '/'))) {
    [Console]::Error.WriteLine("ArchiveRoot $ArchiveRoot is no absolute path without . and ..")
    exit 1
}
$ArchiveRoot = [System.IO.Path]::GetFullPath($ArchiveRoot.TrimEnd('\', '/'))
$guard = $null
$code = 0
try {
    if ($PSCmdlet.ParameterSetName -eq 'Undo' -or $Execute) {
        # One at a time: two could each take the other's keeper.
        [void][System.IO.Directory]::CreateDirectory($ArchiveRoot)
        $guard = [System.IO.File]::Open(
            [System.IO.Path]::Combine($ArchiveRoot, 'remediate.lock'), [System.IO.FileMode]::OpenOrCreate,
            [System.IO.FileAccess]::ReadWrite, [System.IO.FileShare]::None)
    }
    if ($PSCmdlet.ParameterSetName -eq 'Undo') {
        $told = @(Invoke-Undo $UndoRun)
        $told | Select-Object -SkipLast 1
        if ($told[-1]) { $code = 1 }
    }
    else {
        if (-not [System.IO.File]::Exists((Resolve-Path -LiteralPath $CsvPath).ProviderPath)) {
            throw "there is no file $CsvPath"
        }
        foreach ($root in $ShareRoot) {
            if ((Test-Inside $ArchiveRoot $root) -or $ArchiveRoot -eq $root.TrimEnd('\', '/')) {
                throw "ArchiveRoot $ArchiveRoot is inside the share $root`: name a folder outside of it"
            }
        }
        if ($Keeper -eq 'PreferredRoot' -and -not $PreferredRoot.Count) { throw 'Keeper PreferredRoot needs -PreferredRoot' }
        $run = [datetime]::UtcNow.ToString('yyyyMMdd-HHmmss') + '-' + [guid]::NewGuid().ToString('N').Substring(0, 8)
        $items = @(Get-Plan)
        if ($Execute) { Invoke-Plan $items $run }
        $items | Select-Object -Property @('State', 'Path', 'Keeper', 'Reason')
        $counts = @($items | Group-Object -Property State | ForEach-Object { "$($_.Name) $($_.Count)" }) -join ', '
        if ($Execute) { Write-Output "run $run`: $counts" }
        else { Write-Output "a dry run, nothing was touched (with -Execute it is done): $counts" }
        if (@($items | Where-Object { @('failed', 'refused') -contains $_.State }).Count) { $code = 1 }
    }
}
catch {
    [Console]::Error.WriteLine($_.Exception.Message)
    $code = 1
}
finally {
    if ($guard) { $guard.Dispose() }
}
exit $code
